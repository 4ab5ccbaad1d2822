//! The agents in processes (`vu-agent`): who has one, and that nobody can tell.

use crate::harness::{Flavour, Site, difference, helper};

/// What the helper's steps say in a view; `$W` is the place of the files. First some files, and `before`.
fn steps(before: &str, steps: &[&str]) -> String {
    steps_as(Flavour::Dynamic, before, steps)
}

fn steps_as(flavour: Flavour, before: &str, steps: &[&str]) -> String {
    let site = Site::new();
    let helper = helper("agent", flavour);
    let quoted: Vec<String> = steps.iter().map(|step| format!("\"{step}\"")).collect();
    let text = site
        .session(&format!(
            "mkdir -p d/sub e/sub; echo 12345 > d/sub/f; echo 1234567 > e/sub/f; ln -s f d/sub/l; ln -s none d/sub/n; ln -s $W/e away
             {before}
             {} {}",
            helper.display(),
            quoted.join(" ")
        ))
        .ok();
    text.replace(site.work().to_str().unwrap(), "$W")
}

/// The sizes that lines tell of, by stat(2); `None` for what is not there.
fn sizes(text: &str) -> Vec<Option<i64>> {
    let size = |line: &str| {
        let mut parts = line.split(' ').nth(1)?.split(':');
        let found = parts.next()? == "0";
        Some(if found { parts.nth(1)?.parse().ok() } else { None })
    };
    text.lines().filter(|line| line.contains("sub/f ")).filter_map(size).collect()
}

#[test]
fn programs_have_one_unless_somebody_looks_at_them() {
    let has = |before: &str| steps(before, &["has"]);
    assert_eq!(has(""), "has none\n", "nothing mounted");
    assert_eq!(has("vumount -t vufs /usr $W/m"), "has an agent\n");
    assert_eq!(has("vumount -t vufs / /"), "has an agent\n");
    assert_eq!(has("mkdir up; vumount -t vufs -o cow up e"), "has an agent\n", "a union");
    assert_eq!(has("vumount -t vufs -o ro /usr $W/m"), "has an agent\n", "read-only");
    assert_eq!(has("vumount -t vufs -o except=/bin /usr $W/m"), "has an agent\n", "with a hole");
    assert_eq!(has("vumount -t vufs -o list /usr $W/m"), "has none\n", "listed in what is the host's otherwise");
    assert_eq!(
        has("vumount -t vufs /usr $W/m; vu_insmod unrealuidgid"),
        "has an agent\n",
        "somebody may become another"
    );
    assert_eq!(has("vumount -t vufs /usr $W/m; vudebug +m"), "has none\n", "somebody looks");
}

/// Whose files have nothing to do with a mount, for them it costs nothing.
#[test]
fn it_answers_beside_all_kinds_of_mounts() {
    for (mount, there) in [
        ("vumount -t vufs e m", "$W/m/sub/f"),
        ("mkdir up; vumount -t vufs -o cow up e", "$W/up"),
        ("mkdir up; vumount -t vufs -o merge up e", "$W/up"),
        ("vumount -t vufs -o ro e m", "$W/m/sub/f"),
        ("vumount -t vufs -o ro,noexec,except=/x e m", "$W/m/sub/f"),
        ("mkdir up; vumount -t vufs -o cow,except=$W/d up /", "$W/d/sub/f"),
    ] {
        let text = steps(mount, &["?$W/d/sub/f", "&d/sub", "@d", "?sub/f", &format!("?{there}")]);
        let expected = format!(
            "$W/d/sub/f is answered here\n&d/sub is answered here: 100 100\nsub/f is answered here\n{there} is answered here\n"
        );
        assert_eq!(text, expected, "{mount}");
    }
}

/// Where the C library opens for itself, and what begins at the root.
#[test]
fn it_answers_what_programs_ask_when_they_start() {
    let asked = ["?/usr", "?/none", "=/usr/bin/env", "=/none", "#$W/d/sub", "#/usr/lib"];
    let answered = |mount: &str, elsewhere: &[&str]| {
        let who = |step: &&str| if elsewhere.contains(step) { "elsewhere" } else { "here" };
        let expected: String = asked.iter().map(|step| format!("{} is answered {}\n", &step[1..], who(step))).collect();
        assert_eq!(steps(mount, &asked), expected, "{mount}");
    };
    answered("vumount -t vufs e m", &[]);
    // What a mount may say otherwise.
    answered("vumount -t vufs -o ro e m", &["=/usr/bin/env", "=/none"]);
}

/// What a union has not touched is the host's: to look at it costs what it costs in a bind.
#[test]
fn it_answers_in_untouched_directories_of_unions() {
    for (mount, e) in [
        ("vumount -t vufs -o cow up e", "$W/e"),
        ("vumount -t vufs -o mincow up e", "$W/e"),
        ("vumount -t vufs -o merge up e", "$W/e"),
        ("vumount -t vufs -o cow,except=/proc up /", "$W/e"),
        ("vumount -t vufs -o cow up e; vumount -t vufs -o cow up2 e", "$W/e"),
        ("vumount -t vufs -o cow up e; vumount -t vufs -o ro e e", "$W/e"),
    ] {
        let before = format!("mkdir up up2; {mount}");
        let (file, directory) = (format!("{e}/sub/f"), format!("&{e}/sub"));
        let text = steps(
            &before,
            &[
                "has",
                &format!("?{file}"),
                &format!("@{e}"),
                "?sub/f",
                "?./sub/f",
                &directory,
                "@sub",
                "?f",
                "?none",
                "f",
            ],
        );
        let here = format!(
            "{file} is answered here\nsub/f is answered here\n./sub/f is answered here\n{directory} is answered here: 100 100\nf is answered here\nnone is answered here\n"
        );
        assert!(text.starts_with(&format!("has an agent\n{here}")), "{mount}: {text}");
        assert!(text.ends_with(&format!(":{file}:49\n")), "what was opened, and its name: {mount}: {text}");
    }
    // What has been touched is not, and its neighbours are.
    let text = steps(
        "mkdir up e/other; vumount -t vufs -o cow up e",
        &[
            "?$W/e/sub/f",
            "!echo 1 > $W/e/sub/new",
            "$W/e/sub/new",
            "$W/e/sub/f",
            "?$W/e/sub/f",
            "@$W/e/sub",
            "?f",
            "?$W/e/other/none",
        ],
    );
    assert!(
        text.contains("$W/e/sub/f is answered elsewhere\nf is answered elsewhere\n$W/e/other/none is answered here\n"),
        "{text}"
    );
}

/// Whatever is changed in a union, the next look sees it.
#[test]
fn it_notices_what_a_union_changes() {
    let changes = [
        ("echo 123 > $W/e/sub/f", Some(4)),
        ("echo 123 >> $W/e/sub/f", Some(12)),
        ("truncate -s 3 $W/e/sub/f", Some(3)),
        ("rm $W/e/sub/f", None),
        ("mv $W/e/sub/f $W/e/sub/g", None),
        ("mv $W/e/sub/f $W/e/f", None),
        ("mv -T $W/d/sub/f $W/e/sub/f", Some(6)),
        ("echo 12 > $W/e/g; mv $W/e/g $W/e/sub/f", Some(3)),
        ("ln -sf $W/d/sub/f $W/e/sub/f", Some(6)),
        ("rm -r $W/e/sub", None),
        ("rm -r $W/e/sub; mkdir $W/e/sub; echo 1 > $W/e/sub/f", Some(2)),
        ("rm -r $W/e/sub; ln -s $W/d/sub $W/e/sub", Some(6)),
        ("rm -r $W/e/sub; mkdir $W/e/sub; cp $W/d/sub/f $W/e/sub/f", Some(6)),
        ("chmod 0 $W/e/sub", None),
        ("vumount -t vufs $W/d/sub $W/e/sub", Some(6)),
        ("vumount -t vufs $W/d/sub/f $W/e/sub/f", Some(6)),
        ("vuumount -d $W/e; echo 1234 > $W/e/sub/f", Some(5)),
    ];
    for (change, size) in &changes {
        // After a change above it or beside it, too, whatever has been touched by then.
        for mount in
            ["cow up e", "cow up e; mkdir e/x", "cow up e; echo > e/sub/x; rm e/sub/x", "cow,except=/proc up /"]
        {
            if mount.ends_with('/') && change.contains("vuumount") {
                continue;
            }
            let before = format!("mkdir up; vumount -t vufs -o {mount}");
            let text = steps(&before, &["$W/e/sub/f", "@$W/e", "sub/f", &format!("!{change}"), "sub/f", "$W/e/sub/f"]);
            assert_eq!(sizes(&text), [Some(8), Some(8), *size, *size], "{mount}: {change}: {text}");
        }
    }
}

/// What is not there is known by the nearest directory that is: what comes to be there is seen by the next look.
#[test]
fn it_notices_what_comes_to_be_in_a_union() {
    let changes = [
        "mkdir -p $W/e/sub/none/sub; echo 12 > $W/e/sub/none/sub/f",
        "mkdir -p $W/e/x/sub; echo 12 > $W/e/x/sub/f; mv $W/e/x $W/e/sub/none",
        "mkdir -p $W/x/sub; echo 12 > $W/x/sub/f; mv $W/x $W/e/sub/none",
        "mkdir -p $W/e/x/sub; echo 12 > $W/e/x/sub/f; ln -s ../x $W/e/sub/none",
        "mkdir $W/e/sub/none; echo 12 > $W/e/g; ln -s ../.. $W/e/sub/none/sub; mv $W/e/g $W/e/f",
        "mkdir -p $W/x/sub; echo 12 > $W/x/sub/f; vumount -t vufs $W/x $W/e/sub/none",
    ];
    let mounts = ["cow up e", "cow up e; vumount -t vufs -o cow up2 e", "cow up e; mkdir e/y", "cow,except=/proc up /"];
    for (change, mount) in changes.iter().flat_map(|change| mounts.map(|mount| (change, mount))) {
        let before = format!("mkdir up up2; vumount -t vufs -o {mount}");
        let (file, below) = ("$W/e/sub/none/sub/f", "sub/none/sub/f");
        let text = steps(&before, &[file, "@$W/e", below, &format!("!{change}"), below, file]);
        assert_eq!(sizes(&text), [None, None, Some(3), Some(3)], "{mount}: {change}: {text}");
    }
    let here = steps("mkdir up; vumount -t vufs -o cow up e", &["?$W/e/sub/none/x/f"]);
    assert_eq!(here, "$W/e/sub/none/x/f is answered here\n");
}

/// Directories in which nothing was changed are opened and looked at without a question for each, and one in which something was does not cost the others that.
#[test]
fn it_opens_untouched_directories() {
    let many = "for i in $(seq 200); do mkdir -p e/many/d$i; echo 1 > e/many/d$i/f; done";
    let opened = |mount: &str, asked: &[&str]| steps(&format!("{many}; mkdir up up2; {mount}"), asked);
    for (mount, e) in [
        ("vumount -t vufs e m", "$W/m"),
        ("vumount -t vufs -o cow up e", "$W/e"),
        ("vumount -t vufs -o merge up e", "$W/e"),
        ("vumount -t vufs -o cow,except=/proc up /", "$W/e"),
        ("vumount -t vufs -o cow up e; vumount -t vufs -o cow up2 e", "$W/e"),
    ] {
        let (all, path) = (format!("*{e}/many"), format!("#{e}/many/d1"));
        let expected = format!("{all} is answered here: 200\n{e}/many/d1 is answered here\n");
        assert_eq!(opened(mount, &[&all, &path]), expected, "{mount}");
    }
    let (all, change) = ("*$W/e/many", "!echo 2 > $W/e/many/d7/f; rm $W/e/many/d9/f; rmdir $W/e/many/d9");
    let text = opened("vumount -t vufs -o cow up e", &[all, change, all]);
    assert_eq!(text, "*$W/e/many is answered here: 200\n*$W/e/many is answered elsewhere: 199\n");
    // What has been looked at together is touched one by one.
    let deeper = [
        "*$W/e/many/d3",
        "#$W/e/many/d4",
        "!mkdir $W/e/many/d3/new; rmdir $W/e/many/d3/new",
        "[$W/e/many/d4",
        "]f",
        "!echo 22 > $W/e/many/d4/f",
        "]f",
    ];
    let text = opened(
        "for i in $(seq 200); do mkdir e/many/d3/d$i; echo > e/many/d3/d$i/f; done; rm e/many/d3/f; vumount -t vufs -o cow up e",
        &deeper,
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["*$W/e/many/d3 is answered here: 200", "$W/e/many/d4 is answered here"], "{text}");
    assert!(lines[2].contains(":100644:2 ") && lines[3].contains(":100644:3 "), "{text}");
}

/// A view in a view is served as its outer one is, which goes on looking at the same. What both have open is what it is where it is looked at.
#[test]
fn it_opens_untouched_directories_in_inner_views() {
    let many = "for i in $(seq 200); do mkdir -p e/many/d$i; echo 1 > e/many/d$i/f; done; mkdir up up2";
    let enter = "ls -R e/many > /dev/null; umvu --norc -m vufs -- sh -c";
    for inner in ["", "vumount -t vufs d m; ", "vumount -t vufs -o cow up2 e; "] {
        let before = format!("{many}; vumount -t vufs -o cow up e; {enter} '{inner}exec \"$@\"' sh \\");
        assert_eq!(steps(&before, &["*$W/e/many"]), "*$W/e/many is answered here: 200\n", "{inner}");
    }
    let look = "import os; print({os.stat('d1/f', dir_fd=5).st_size for _ in range(50)}, {os.listdir(5) == os.listdir('/proc/self/fd/5') for _ in range(50)})";
    let said = Site::new().session(&format!(
        "{many}; vumount -t vufs -o cow up e; exec 5< e/many; look() {{ /usr/bin/python3 -c \"{look}\"; }}; export -f look; look
         umvu --norc -m vufs -- bash -c 'vumount -t vufs -o cow up2 e; echo 123 > e/many/d1/f; look'; look"
    ));
    assert_eq!(said.ok(), "{2} {True}\n{4} {True}\n{2} {True}\n");
}

/// A module for identities costs those nothing who are who they were; who becomes somebody else has no agent from then on.
#[test]
fn it_answers_who_has_the_identity_of_the_host() {
    for (mount, e) in [
        ("vumount -t vufs e m", "$W/m"),
        ("vumount -t vufs -o cow up e", "$W/e"),
        ("vumount -t vufs -o cow,except=/proc up /", "$W/e"),
    ] {
        let (file, below) = (format!("?{e}/sub/f"), format!("@{e}"));
        let asked = ["has", &file, "?$W/d/sub/f", &below, "?sub/f", "root", &file, "?$W/d/sub/f", "?sub/f", "sub/f"];
        let before = format!("mkdir up; {mount}; vu_insmod unrealuidgid");
        let text = steps(&before, &asked);
        let answered =
            |who: &str, files: [&str; 3]| files.map(|file| format!("{} is answered {who}\n", &file[1..])).concat();
        let expected = [
            answered("here", [&file, "?$W/d/sub/f", "?sub/f"]),
            answered("elsewhere", [&file, "?$W/d/sub/f", "?sub/f"]),
        ]
        .concat();
        assert!(text.starts_with(&format!("has an agent\n{expected}sub/f 0:")), "{mount}: {text}");
    }
    // What /proc tells of who has become another one, by all ways there.
    for mount in ["cow up e", "bind e m"] {
        let text = Site::new()
            .session(&format!(
                "mkdir -p up e; vumount -t vufs -o {mount}; vu_insmod unrealuidgid; vusu -c 'exec sleep 60' & p=$!
                 for i in $(seq 100); do [ $(stat -c %u /proc/$p) = 0 ] && break; sleep 0.1; done
                 cd /proc/$p; for i in $(seq 20); do find /proc/$p -maxdepth 1 -name status -printf %U; find . -maxdepth 1 -name status -printf %U; stat -c %u . status /proc/$p/status; done | tr -d '\\n'
                 kill $p"
            ))
            .ok();
        assert_eq!(text, "0".repeat(100), "{mount}");
    }
}

/// A copy of what has several names does not take a union out of their reach; nor is it missed.
#[test]
fn it_knows_what_has_several_names() {
    let many =
        "for i in $(seq 200); do mkdir -p e/many/d$i; echo 1 > e/many/d$i/f; done; ln e/sub/f e/many/d7/h; mkdir up";
    for mount in ["cow up e", "mincow up e", "cow,except=/proc up /"] {
        let before = format!("{many}; vumount -t vufs -o {mount}");
        let write = "!chmod 640 $W/e/sub/f; echo 1234 > $W/e/sub/f";
        let asked = [
            "*$W/e/many",
            "#$W/e/many/d3",
            "$W/e/many/d7/h",
            "[$W/e/many/d7",
            "]h",
            write,
            "]h",
            "$W/e/many/d7/h",
            "$W/e/many/d3/f",
            "*$W/e/many",
            "#$W/e/many/d3",
            "?$W/e/many/d3/f",
        ];
        let text = steps(&before, &asked);
        let here = "*$W/e/many is answered here: 200\n$W/e/many/d3 is answered here\n";
        assert!(text.starts_with(here), "{mount}: {text}");
        assert!(text.ends_with(&format!("{here}$W/e/many/d3/f is answered here\n")), "{mount}: {text}");
        assert_eq!(
            text.replace("elsewhere", "here"),
            steps_as(Flavour::Static, &before, &asked).replace("elsewhere", "here"),
            "{mount}"
        );
        assert!(text.contains("]h 0:40755:1 0:100640:5 "), "{mount}: {text}");
    }
}

/// Who has no agent says what is right of a directory that is open while it changes.
#[test]
fn it_sees_changes_below_open_directories() {
    let changes = [
        "echo 123 > $W/e/sub/f",
        "echo 1 > $W/e/sub/new",
        "rm $W/e/sub/f",
        "chmod 750 $W/e/sub",
        "chmod 600 $W/e/sub/f",
        "mv $W/e/sub/f $W/e/f",
        "ln -sf $W/d/sub/f $W/e/sub/f",
        "rm -r $W/e/sub",
        "rm -r $W/e/sub; mkdir $W/e/sub; echo 1 > $W/e/sub/f",
        "vumount -t vufs $W/d/sub $W/e/sub",
        "vumount -t vufs $W/d/sub/f $W/e/sub/f",
        "vumount -t vufs -o cow $W/up2 $W/e; echo 1 > $W/e/sub/f",
        "vumount -t vufs /usr $W/m; echo 1 > $W/e/sub/f",
        "vuumount -d $W/e",
    ];
    for mount in ["cow up e", "mincow up e", "cow up e; mkdir e/x", "cow,except=/proc up /"] {
        for change in changes.iter().filter(|change| !change.contains("vuumount") || !mount.ends_with('/')) {
            let before = format!("mkdir up up2; vumount -t vufs -o {mount}");
            let all = [
                "[$W/e/sub",
                "]f",
                &format!("!{change}"),
                "]f",
                "]new",
                "[$W/e",
                "]sub",
                "!mkdir -p $W/e/sub; echo 1 > $W/e/sub/new",
                "]sub",
                "[$W/e/sub",
                "]new",
            ];
            let told = steps_as(Flavour::Static, &before, &all);
            assert_eq!(steps(&before, &all), told, "{mount}: {change}");
            assert!(told.lines().count() >= 6, "{told}");
        }
    }
}

/// A merge renames the lower tree's directories where they are. What agents open there then is known by its new name, to those who change it, too.
#[test]
fn directories_of_a_merge_are_known_by_the_names_they_have_now() {
    let site = Site::new();
    let script = "import os, time
known = os.open(os.environ['W'] + '/e/sub/x', os.O_RDONLY)
parent = os.open('e/sub', os.O_RDONLY)
os.rename('e/sub/x', 'e/sub/z')
for i in range(20):
    time.sleep(.01)
    for _ in range(3):
        os.stat('other', dir_fd=parent)
    for fd in known, os.open('z', os.O_RDONLY, dir_fd=parent):
        os.unlink(f'f{i}', dir_fd=fd)
        open(f'e/sub/z/f{i}', 'w').close()
    os.unlink(f'f{i}', dir_fd=fd)
    os.close(fd)
print(os.listdir('e/sub/z'), os.listdir(known))";
    for mount in ["merge up e", "merge,except=/proc up /"] {
        site.reset();
        let said = site.session(&format!(
            "export W; mkdir -p up e/sub/x; touch e/sub/other; for i in $(seq 0 19); do touch e/sub/x/f$i; done
             vumount -t vufs -o {mount}; python3 -c \"{script}\""
        ));
        assert_eq!(said.ok(), "[] []\n", "{mount}");
    }
}

/// The same at once: others look while it is changed.
#[test]
fn who_looks_while_a_union_changes_sees_the_change_when_it_is_made() {
    let site = Site::new();
    let helper = helper("at_once", Flavour::Dynamic);
    let at_once = helper.display();
    for mounts in [
        "vumount -t vufs -o cow up e",
        "vumount -t vufs -o cow up e; vumount -t vufs -o cow up2 e",
        "vumount -t vufs -o cow,except=/proc up /",
    ] {
        let text = site
            .session(&format!("rm -rf e up up2; mkdir e up up2; {at_once} $W/e 4 make; {mounts}; {at_once} $W/e 4"))
            .ok();
        assert_eq!(text, "65 changes, 0 wrong looks\n", "{mounts}");
    }
}

/// What it answers is what the kernel answers.
#[test]
fn it_answers_as_the_kernel_does() {
    let paths = [
        "d/sub/f",
        "d/sub/l",
        "d/sub/n",
        "d/sub/none",
        "d/none/f",
        "d/sub/f/x",
        "d/sub/",
        "d/sub/.",
        "d/sub/..",
        "d/./sub/f",
        "d//sub/f",
        "away/sub/f",
        "$W/d/sub/f",
        "$W/d/sub/l",
        "$W/d/sub/n",
        "$W/d/sub/none",
        "$W/away/sub/f",
        "/proc/version",
        "/usr/bin/env",
        "/usr/bin",
        "/",
        ".",
        "",
        "d",
        "away",
        "bad",
        "@d",
        "sub/f",
        "sub/l",
        "@..",
        "d/sub/f",
        "@d/sub",
        "f",
        "l",
        "../sub/f",
    ];
    let native = steps("", &paths);
    assert_eq!(steps("vumount -t vufs /usr $W/m", &paths), native);
    assert_eq!(steps("vumount -t vufs / /", &paths), native);
    assert_eq!(steps("vumount -t vufs -o ro /usr $W/m", &paths), native);
    assert_eq!(steps("mkdir up m; vumount -t vufs -o cow up m", &paths), native);
    assert_eq!(steps("mkdir up; vumount -t vufs -o cow up d", &paths), native);
    assert_eq!(steps("mkdir up; vumount -t vufs -o cow,except=/proc up /", &paths), native);
    // In a bind, by absolute and by relative paths. (Of a file elsewhere, the name would be a guess: README.md.)
    let elsewhere = "/usr/bin/env";
    let inside: Vec<String> =
        paths.iter().filter(|path| **path != elsewhere).map(|path| path.replace("$W", "$W/m$W")).collect();
    let mut inside: Vec<&str> = inside.iter().map(String::as_str).collect();
    inside.insert(0, "@$W/m$W");
    let seen = steps("vumount -t vufs / $W/m", &inside).replace("$W/m$W", "$W");
    let native: String =
        native.lines().filter(|line| !line.starts_with(elsewhere)).map(|line| format!("{line}\n")).collect();
    assert_eq!(seen, native);
}

/// What it knows of a directory ends when a mount comes or goes, or the way there becomes another one.
#[test]
fn it_notices_what_changes_the_way() {
    let changes = [
        ("!vumount -t vufs $W/e $W/d", "!vuumount $W/d"),
        ("!vumount -t vufs $W/e/sub $W/d/sub", "!vuumount $W/d/sub"),
        ("!vumount -t vufs $W/e/sub/f $W/d/sub/f", "!vuumount $W/d/sub/f"),
        ("!mv d was; ln -s e d", "!rm d; mv was d"),
        ("!mv d/sub d/was; ln -s ../e/sub d/sub", "!rm d/sub; mv d/was d/sub"),
        ("!mv d/sub/f d/sub/was; ln -s $W/e/sub/f d/sub/f", "!mv d/sub/was d/sub/f"),
        ("!mv -T d x; mv -T e d", "!mv -T d e; mv -T x d"),
    ];
    for (there, back) in changes {
        for path in ["d/sub/f", "$W/d/sub/f"] {
            let text = steps("vumount -t vufs /usr $W/m", &["has", path, there, path, back, path]);
            assert!(text.starts_with("has an agent\n"), "{text}");
            assert_eq!(sizes(&text), [Some(6), Some(8), Some(6)], "{there} {path}: {text}");
        }
    }
    // A link into a mount, and one that led there all the time.
    let text = steps(
        "vumount -t vufs e m",
        &["m/sub/f", "!ln -s $W/m d/into", "d/into/sub/f", "$W/d/into/sub/f", "!vuumount m", "d/into/sub/f"],
    );
    assert_eq!(sizes(&text), [Some(8), Some(8), Some(8), None], "{text}");
}

/// The working directory counts by what it is, not by what it was called.
#[test]
fn it_knows_where_relative_paths_begin() {
    let text = steps(
        "vumount -t vufs e m",
        &[
            "@d",
            "sub/f",
            "@../e",
            "sub/f",
            "@../m",
            "sub/f",
            "@../d/sub",
            "../sub/f",
            "@..",
            "sub/f",
            "!mv ../e ../d2",
            "sub/f",
        ],
    );
    assert_eq!(sizes(&text), [Some(6), Some(8), Some(8), Some(6), Some(6), Some(6)], "{text}");
    // A mount over the working directory.
    let covered =
        steps("vumount -t vufs /usr $W/m", &["@d", "sub/f", "!vumount -t vufs $W/e $W/d", "sub/f", "@$W/d", "sub/f"]);
    assert_eq!(sizes(&covered)[1], sizes(&covered)[2], "{covered}");
}

/// Who becomes special answers to the hypervisor alone.
#[test]
fn it_is_switched_off_where_something_is_special() {
    let text = steps(
        "mkdir -p d/$W/d/sub; echo 1 > d/$W/d/sub/f; vumount -t vufs /usr $W/m",
        &["has", "$W/d/sub/f", "%d", "$W/d/sub/f"],
    );
    assert_eq!(sizes(&text), [Some(6), Some(2)], "a root of its own: {text}");
    let text = steps("vumount -t vufs /usr $W/m", &["has", "d/sub/f", "filter", "!true"]);
    assert!(text.ends_with("filter 0\n"), "a filter that would kill: {text}");
    // Another view, which has another mount.
    let text = steps(
        "vumount -t vufs /usr $W/m",
        &["d/sub/f", "!umvu -m vufs sh -c 'vumount -t vufs $W/e $W/d; stat -c %s d/sub/f d/sub/f'", "d/sub/f"],
    );
    assert_eq!(text.lines().filter(|line| *line == "8").count(), 2, "{text}");
    assert_eq!(sizes(&text), [Some(6), Some(6)], "{text}");
}

/// Only the dynamic linker finds the copy.
#[test]
fn the_library_is_itself_for_everybody_else() {
    let site = Site::new();
    let library = "/lib/x86_64-linux-gnu/libc.so.6";
    let read = format!(
        "cmp {library} c1 && cp {library} c2 && cmp c1 c2 && python3 -c 'import os; fd = os.open(\"{library}\", os.O_RDONLY | os.O_CLOEXEC); \
         print(os.readlink(f\"/proc/self/fd/{{fd}}\"), os.read(fd, 9 << 20) == open(\"c1\", \"rb\").read())'"
    );
    let text = site.session(&format!("cat {library} > c1; vumount -t vufs /usr $W/m; {read}")).ok();
    assert!(text.ends_with("libc.so.6 True\n"), "{text}");
}

/// Each of many views has a copy of the library made for it: of what was read for that, no thread keeps anything when the views are gone.
#[test]
fn what_was_read_for_copies_is_given_back() {
    let site = Site::new();
    let script = r#"hypervisor=$(for pid in $(cat /proc/$PPID/task/*/children); do [ $pid = $$ ] || echo $pid; done | head -n 1)
        for one in 1 2 3 4; do
            for other in 1 2 3 4; do $UMVU --norc -- sh -c 'vumount -t vufs / $M; ls $M > /dev/null' & done; wait
        done
        sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' /proc/$hypervisor/status"#;
    let resident: u64 = site.session(script).ok().trim().parse().unwrap();
    assert!(resident < 2500, "{resident} kB, of which a copy is some 2000");
}

/// Makes `$D/t`, in which a program is going to work, and `$D/up` anew, and goes there.
const ANEW: &str = "chmod -R u+rwX $D/t $D/up 2> /dev/null; rm -rf $D/t $D/up; mkdir $D/t $D/up; cd $D/t";

/// How a Python program of this text is run.
fn python_program(site: &Site, text: &str) -> String {
    let program = site.path().join("program.py");
    std::fs::write(&program, text).unwrap();
    format!("/usr/bin/python3 {}", program.display())
}

/// Three processes, one of which changes what the others have looked at a moment ago, by whatever name and descriptor, are told what they would be told
/// without a mount.
#[test]
fn processes_in_turn_are_told_what_the_kernel_tells() {
    const STEPS: &str = "150";
    let site = Site::new();
    let program = python_program(&site, include_str!("../python/in_turn.py"));
    let make = |seed| {
        site.native(&format!("{ANEW}; {program} make {seed}")).ok();
    };
    let one_name = "$D/t $D/t $D/t";
    let mounts = [
        ("vumount -t vufs / /", "-", one_name),
        ("vumount -t vufs / $M", "-", "$M$D/t $D/t $M$D/t"),
        ("vumount -t vufs -o merge,except=/proc $D/up /", "-", one_name),
        ("vumount -t vufs -o cow,except=/proc $D/up /", "dr", one_name),
        ("vumount -t vufs -o cow $D/up $D/t", "dr", one_name),
    ];
    for (seed, (mount, options, names)) in
        [1, 2, 102].into_iter().flat_map(|seed| mounts.iter().map(move |mount| (seed, mount)))
    {
        make(seed);
        let native = site.native(&format!("{program} run {seed} {STEPS} {options} {one_name}")).ok();
        make(seed);
        let seen = site.session(&format!("{mount} && cd $D/t && {program} run {seed} {STEPS} {options} {names}")).ok();
        assert!(native.lines().count() > 150, "{native}");
        assert!(native == seen, "seed {seed}, {mount}:\n{}", difference(&native, &seen));
    }
}

/// Locks by names, mail boxes, files that are replaced: what programs rely on between processes holds in every mount, since no step of a change can be seen.
#[test]
fn many_at_once_find_what_holds_of_every_file_system() {
    let site = Site::new();
    let program = python_program(&site, include_str!("../python/at_once.py"));
    let make = format!("{ANEW}; {program} make");
    site.native(&make).ok();
    let native = site.native(&format!("cd $D/t; {program} run 30")).ok();
    assert!(native.lines().count() > 10 && !native.contains(": NO"), "{native}");
    for mount in [
        "vumount -t vufs / /",
        "vumount -t vufs -o merge $D/up $D/t",
        "vumount -t vufs -o cow,except=/proc $D/up /",
        "vumount -t vufs -o cow $D/up $D/t",
        "vumount -t vufs -o mincow $D/up $D/t",
    ] {
        site.native(&make).ok();
        let seen = site.session(&format!("{mount} && cd $D/t && {program} run 30 2>&1")).ok();
        assert!(native == seen, "{mount}:\n{seen}");
    }
}
