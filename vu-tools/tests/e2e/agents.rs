//! The agents in processes (`vu-agent`): who has one, and that nobody can tell.

use crate::harness::{Flavour, Site, helper};

/// What the helper's steps say in a view; `$W` is the place of the files. First some files, and `before`.
fn steps(before: &str, steps: &[&str]) -> String {
    let site = Site::new();
    let helper = helper("agent", Flavour::Dynamic);
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
fn programs_have_one_only_where_mounts_are_plain() {
    let has = |before: &str| steps(before, &["has"]);
    assert_eq!(has(""), "has none\n", "nothing mounted");
    assert_eq!(has("vumount -t vufs /usr $W/m"), "has an agent\n");
    assert_eq!(has("vumount -t vufs / /"), "has an agent\n");
    assert_eq!(has("mkdir up; vumount -t vufs -o cow up e"), "has none\n", "a union");
    assert_eq!(has("vumount -t vufs -o ro /usr $W/m"), "has none\n", "read-only");
    assert_eq!(has("vumount -t vufs -o except=/bin /usr $W/m"), "has none\n", "with a hole");
    assert_eq!(has("vumount -t vufs /usr $W/m; vudebug +m"), "has none\n", "somebody looks");
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
