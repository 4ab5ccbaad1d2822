//! What `/proc` tells of the memory of processes.

use crate::harness::{Compare, Flavour, Site, differential, differential_with, helper};

/// The names of mapped files are those by which they were opened, and device and inode number are what stat(2) says.
#[test]
fn mappings_have_the_names_of_the_view() {
    differential(
        r#"cat > map.py <<'end'
import mmap, os, re, sys
kept = []
def mapped(path, directory=None):
    if directory: os.chdir(directory)
    fd = os.open(path, os.O_RDONLY)
    kept.append(mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ))
    os.close(fd)
def told(name, where="self"):
    with open("/proc/%s/%s" % (where, name)) as text: return text.read()
work = os.getcwd()
mapped("file"); mapped(work + "/dir/lines"); mapped("script", "dir/.."); mapped("inner", "dir/sub"); os.chdir(work); mapped("dir/up/../deep/file"); mapped("link")
open("gone", "w").write("x" * 5000); mapped("gone"); os.unlink("gone")
open("odd\n\\012 name", "w").write("x"); mapped("odd\n\\012 name")
open("new", "w").write("old"); mapped("new"); os.rename("new", "renamed")
with open("file", "r+b") as file: shared = mmap.mmap(file.fileno(), 0); shared[0:1] = b"C"; shared.flush()
def seen(text):
    for line in text.splitlines():
        words = line.split(None, 5)
        if line[0] in "0123456789abcdef" and len(words) == 6 and words[5].startswith(work):
            name = words[5].replace("\\012", "\n", 1)
            major, minor = words[3].split(":")
            there = os.path.exists(name) and os.stat(name)
            same = there and (os.makedev(int(major, 16), int(minor, 16)), int(words[4])) == (there.st_dev, there.st_ino)
            yield "%s %s %s" % (words[1], same, words[5])
tid = os.listdir("/proc/self/task")[0]
maps = sorted(seen(told("maps")))
print("\n".join(maps))
print([sorted(seen(text)) == maps for text in (told("smaps"), told("task/" + tid + "/maps"), told("maps", "thread-self"), told("maps", os.getpid()))])
print(sorted(re.findall(r"file=(%s\S*)" % work, told("numa_maps"))))
os.chdir("/proc/self"); print(sorted(seen(open("maps").read())) == maps); os.chdir("task/" + tid); print(sorted(seen(open("smaps").read())) == maps); os.chdir(work)
print(sorted(os.readlink("/proc/self/map_files/" + name) for name in os.listdir("/proc/self/map_files") if os.readlink("/proc/self/map_files/" + name).startswith(work)))
# In small pieces, and again.
with open("/proc/self/maps", "rb", buffering=0) as file:
    whole = b"".join(iter(lambda: file.read(7), b""))
    file.seek(0); again = file.read(1 << 20)
    print(whole.startswith(again[:4000]), len(whole) > 2000)
print(not [line for line in told("maps").splitlines() if line.split()[-1].startswith(os.path.dirname(work)) and not line.split(None, 5)[5].startswith(work)])
if os.fork() == 0:
    print(sorted(seen(told("maps"))) == maps, sorted(seen(told("maps", os.getppid()))) == maps, flush=True)
    os.execv(sys.executable, [sys.executable, "-c", "print(sum(line.endswith('/file\\n') for line in open('/proc/self/maps')))"])
os.wait()
end
python3 map.py; rm map.py; cp /bin/cat dog; ./dog /proc/self/maps | grep -o '/[^ ]*dog' | uniq -c; $W/dog /proc/$$/smaps | grep -o '/[^ ]*/bash' | uniq | wc -l
$P/bin/cat /proc/self/maps | grep -o '/[^ ]*cat$' | uniq; sh -c 'rm dog; $P/bin/grep -c x /proc/$$/maps > /dev/null; echo $?'"#,
    );
}

/// What a bind shows of a union has the union's names, too, and these are asked for first.
#[test]
fn mappings_of_what_is_bound_from_a_union() {
    let cats = "for cat in /bin/cat $M/bin/cat; do $cat /proc/self/maps | grep -o '/[^ ]*cat$' | uniq; done";
    for union in ["cow,except=/proc $D/cow /", "merge,except=/proc $D/merge /"] {
        let said =
            Site::new().session(&format!("vumount -t vufs -o {union}; vumount -t vufs / $M; {cats}; echo $M")).ok();
        let lines: Vec<&str> = said.lines().collect();
        let [plain, below, mount_point] = lines[..] else { panic!("{said}") };
        assert_eq!((plain, below.strip_prefix(mount_point)), ("/usr/bin/cat", Some("/usr/bin/cat")), "{union}");
    }
}

/// Programs are mapped where they are in their root, whose names they are told.
#[test]
fn mappings_in_another_root() {
    let site = Site::new();
    let said = site.session(
        "exec 2>&1; vu_insmod unrealuidgid; mkdir $D/r; vumount -t vufs / $D/r; cp /bin/cat $W/mycat
        vusu -c \"chroot $D/r $W/mycat /proc/self/maps\" | grep -o ' /.*' | tr -d ' ' | grep -Ev 'locale|gconv' | sort -u | sed s,$W,W,
        vusu -c \"chroot $D/r /bin/sleep 60 & echo \\$! > $D/pid\"; until tr '\\n' ' ' < /proc/$(cat $D/pid)/maps | grep -q 'bin/sleep.*libc'; do :; done; kill -STOP $(cat $D/pid)
        grep -o ' /.*' /proc/$(cat $D/pid)/maps | tr -d ' ' | grep -Ev 'locale|gconv' | sort -u | sed s,$D,D,; kill -9 $(cat $D/pid)",
    );
    let libraries = |root: &str| {
        let library = |name: &str| site.native(&format!("realpath /lib/x86_64-linux-gnu/{name}")).ok();
        format!("{root}{}{root}{}", library("ld-linux-x86-64.so.2"), library("libc.so.6"))
    };
    let sleep = site.native("realpath /bin/sleep").ok();
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join("\n") + "\n"
    };
    let expected = sorted(format!("W/mycat\n{}", libraries(""))) + &sorted(format!("D/r{sleep}{}", libraries("D/r")));
    let said = said.stdout();
    let (first, second) = said.split_at(said.match_indices('\n').nth(2).map_or(said.len(), |(at, _)| at + 1));
    assert_eq!(sorted(first.to_owned()) + &sorted(second.to_owned()), expected);
}

/// What umvu maps into a process to pass it names is not told.
#[test]
fn scratch_memory_is_not_told() {
    differential_with(
        "bash",
        r#"cat > count.py <<'end'
import os
def mappings(name): return [line.split()[0] for line in open("/proc/self/" + name) if line[0] in "0123456789abcdef" and line.split()[1:] == ["rw-p", "00000000", "00:00", "0"]]
def change():
    try: os.mkfifo("made"); os.chmod("made", 0o600); fd = os.open("made", os.O_RDWR); os.close(fd); os.unlink("made"); os.close(os.open("file", os.O_PATH))
    except OSError as error: print(error)
before = after = None
# What the program's own memory grows by is not umvu's.
for _ in range(3): mappings("maps"), mappings("smaps")
before, smaps = mappings("maps"), mappings("smaps")
change()
print(mappings("maps") == before, len(mappings("smaps")) - len(smaps))
end
python3 count.py"#,
        Compare::Output,
    );
}

/// Who may not look at a process is not told by umvu either.
#[test]
fn mappings_of_others() {
    let site = Site::new();
    let said = site.session(
        "exec 2>&1; vumount -t vufs / $M; cat /proc/1/maps > /dev/null; echo $?; cat /proc/self/maps | grep -c libc.so > /dev/null; echo $?
        python3 -c 'import ctypes; ctypes.CDLL(None).prctl(4, 0); print(len(open(\"/proc/self/maps\").read()) > 100, flush=True)'",
    );
    let refused =
        if site.native("cat /proc/1/maps").status.success() { "" } else { "cat: /proc/1/maps: Permission denied\n1\n" };
    assert_eq!(said.stdout(), format!("{refused}0\nTrue\n"));
}

/// The numbers of mounts are the same in `mountinfo`, statx(2), statmount(2) and listmount(2), and the calls fail as Linux says.
#[test]
fn mounts_are_told_by_number() {
    let told = helper("mounts_told", Flavour::Dynamic);
    let site = Site::new();
    let native = site.native(&format!("{0} / && {0} /proc", told.display())).ok();
    let one = native.lines().skip(1).take(3).fold(String::new(), |text, line| text + line + "\n");
    let said = site.session(&format!(
        "exec 2>&1; told={}; mkdir -p up s/below; mount() {{ vumount -t vufs \"$@\" || echo no; }}
        $told / && $told /proc; mount -o ro dir s; mount $W/dir/lines $W/file; mount -o cow,noexec up dir; mount / $M; mount many $M/$W/s
        $told $W/s $W/s/sub $W/file $W/dir $W/dir/sub $M/etc $M/$W/s / /proc
        findmnt -nro TARGET,FSTYPE -T $M/$W/s; findmnt -nro TARGET,FSTYPE -T $W/dir/sub; echo $(findmnt -nro OPTIONS -M $W/dir | cut -d, -f1,2)",
        told.display()
    ));
    let at = |point: &str, attributes: u32| format!("{point} {attributes}\n{one}");
    let (w, m) = (site.work().display().to_string(), site.mount_point().display().to_string());
    let expected = native.clone()
        + &[
            format!("{w}/s: {}", at(&format!("{w}/s"), 1)),
            format!("{w}/s/sub: {}", at(&format!("{w}/s"), 1)),
            format!("{w}/file: {}", at(&format!("{w}/file"), 0)),
            format!("{w}/dir: {}", at(&format!("{w}/dir"), 8)),
            format!("{w}/dir/sub: {}", at(&format!("{w}/dir"), 8)),
            format!("{m}/etc: {}", at(&m, 0)),
            format!("{m}/{w}/s: {}", at(&format!("{m}{w}/s"), 0)),
            native,
            format!("{m}{w}/s vufs\n{w}/dir vufs\nrw,noexec\n"),
        ]
        .concat();
    assert_eq!(said.stdout(), expected);
}

/// In another root, only what it shows is listed, with names as they are there.
#[test]
fn mounts_of_another_root() {
    let told = helper("mounts_told", Flavour::Static);
    let site = Site::new();
    let said = site.session(&format!(
        "exec 2>&1; vu_insmod unrealuidgid; mkdir $D/r; vumount -t vufs / $D/r; vumount -t vufs -o ro $W/dir $D/r/$W/dir; vumount -t vufs /etc $W/many; cp {} $W/told
        vusu -c \"chroot $D/r $W/told / $W/dir/sub\" | grep -v ^[-0-9]",
        told.display()
    ));
    let w = site.work().display().to_string();
    // The host's mounts are outside: the root is one of the view's.
    assert_eq!(said.stdout(), format!("/: / 0\n{w}/dir/sub: {w}/dir 1\n"));
}

/// `cp` and `tail -F` compare what they have looked at with what they have opened.
#[test]
fn files_of_tasks_are_the_same_by_name_and_open() {
    differential(
        r#"cat > same.py <<'end'
import os
for name in "status", "mounts", "mountinfo", "mountstats", "maps", "smaps", "numa_maps", "stat", "cmdline", "fd":
    looked = os.stat("/proc/self/" + name)
    fd = os.open("/proc/self/" + name, os.O_RDONLY)
    opened = os.fstat(fd)
    print(name, os.path.samestat(looked, opened), oct(opened.st_mode), opened.st_size == looked.st_size, opened.st_uid == os.getuid(), os.readlink("/proc/self/fd/%d" % fd) == "/proc/%d/%s" % (os.getpid(), name))
def told(name):
    words = dict(line.split(":\t") for line in open(name).read().splitlines() if ":\t" in line)
    return words["mnt_id"].strip(), int(words["ino"])
mounts = [line.split()[0] for line in open("/proc/self/mountinfo")]
for name in "file", "dir", "dir/lines":
    fd = os.open(name, os.O_RDONLY)
    there = told("/proc/self/fdinfo/%d" % fd)
    print(name, there[0] in mounts, there[1] == os.fstat(fd).st_ino, told("/proc/self/task/%d/fdinfo/%d" % (os.getpid(), fd)) == there)
    if os.fork() == 0: print(told("/proc/%d/fdinfo/%d" % (os.getppid(), fd)) == there, flush=True); os._exit(0)
    os.wait()
fd = os.open("dir", os.O_RDONLY); there = told("/proc/self/fdinfo/%d" % fd); os.chdir("/proc/self/fdinfo"); print(told(str(fd)) == there)
def lines(name): return len(open(name).readlines())
there = lines("/proc/self/mounts")
os.chdir("/proc")
print(lines("self/mounts") == there)
os.chdir("self")
print(lines("mounts") == there, lines("./mountinfo") == there)
end
python3 same.py; rm same.py
cp /proc/self/fdinfo/0 copy && grep -c pos copy; rm -f copy; for f in status mounts maps; do cp /proc/self/$f copy && grep -c -m 1 . copy; cp /proc/$$/$f copy && rm -f copy; done; install -m 600 /proc/self/mounts copy && stat -c %a copy; rm copy"#,
    );
}

/// All that belongs to a process is its virtual user's, by name and open.
#[test]
fn files_of_tasks_belong_to_virtual_users() {
    let site = Site::new();
    let said = site.session(
        r#"vu_insmod unrealuidgid; mkdir $D/up; vumount -t vufs -o cow $D/up $W; cat > owner.py <<'end'
import os
for name in "status", "mounts", "cmdline", ".", "fd":
    looked, opened = os.stat("/proc/self/" + name), os.fstat(os.open("/proc/self/" + name, os.O_RDONLY))
    print(name, looked.st_uid, opened.st_uid, opened.st_gid, os.path.samestat(looked, opened))
end
vusu -c 'python3 owner.py; cp -a /proc/self/status copy; stat -c %u:%g copy'"#,
    );
    assert_eq!(
        said.ok(),
        "status 0 0 0 True\nmounts 0 0 0 True\ncmdline 0 0 0 True\n. 0 0 0 True\nfd 0 0 0 True\n0:0\n"
    );
}
