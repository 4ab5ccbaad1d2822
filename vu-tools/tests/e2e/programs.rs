//! Programs people use. Each must do in a view what it does on the host: nothing mounted, beside a mount, inside of one, and with
//! `/` bound on `/`.

use crate::harness::{
    Compare, Flavour, Site, View, differential, differential_in, differential_with, helper, toolchain,
};

/// A script whose results hold times or random names: only what it prints is compared.
#[track_caller]
fn printed(script: &str) {
    differential_with("bash", script, Compare::Output);
}

#[track_caller]
fn with_helper(name: &str, flavour: Flavour, arguments: &str) {
    let program = helper(name, flavour);
    differential_with("sh", &format!("exec \"$P{}\" {arguments}", program.display()), Compare::All);
}

// ---------------------------------------------------------------------------------------------------------------- shells

#[test]
fn bash_expands_redirects_and_waits() {
    differential(
        r#"set -o pipefail
        pwd; echo $0 $# "$BASH_VERSION"; echo *; echo dir/*; echo many/f1?; echo {a,b}{1,2}; cd dir; pwd; cd sub; cd -; cd ../linkdir; pwd; pwd -P; cd ..; pwd
        for f in file dir link linkdir dangling fifo script zero; do for t in e f d h L p s x r w; do [ -$t $f ] && printf '%s ' -$t; done; echo $f; done
        [ file -ef hard ] && echo same; [ file -ef link ] && echo same; [ file -ef zero ] || echo other
        while read -r line; do echo "<$line>"; done < dir/lines; read -r first < file; echo $first
        cat <<< here; diff <(sort dir/lines) <(sort -r dir/lines); echo $?
        echo out > new; echo more >> new; echo over >| new; cat new; exec 5<> new; read -u 5 x; echo $x; exec 5>&-
        ./script 1 2; . ./script; (exit 3); echo $?; sh -c 'kill -TERM $$'; echo $?; sh -c 'kill -9 $$'; echo $?
        (nosuchprogram) 2> /dev/null; ./dir; ./file; echo $?; ./missing 2> /dev/null; cat missing; echo $?; type cat ls
        trap 'echo trapped' USR1; kill -USR1 $$; trap 'echo bye' EXIT; coproc cat; echo to >&${COPROC[1]}; read -u ${COPROC[0]} back; echo $back; kill $COPROC_PID; wait 2> /dev/null
        exit 7"#,
    );
}

#[test]
fn directories_deeper_than_any_name() {
    // The kernel tells no name that is longer than a page; whoever goes there step by step works on.
    differential(
        r#"perl -e 'my $d = "x" x 200; for (1 .. 52) { mkdir $d, 0700 and chdir $d or die "$_ $!" }
            open my $f, ">", "f" or die $!; print $f "deep\n"; close $f; rename "f", "g" or die $!; symlink "g", "l"; link "g", "h"; chmod 0640, "g"; mkdir "sub" or die $!;
            printf "%o %d %s\n", (stat "l")[2], (stat "g")[3], readlink "l"; opendir my $o, "."; print join(" ", sort readdir $o), "\n"; system "cat l; cd sub && cd .. && ls; ./l; /bin/pwd > /dev/null; echo \$?";
            require POSIX; print defined POSIX::getcwd() ? "named\n" : "$!\n"; chdir "sub" or die $!; chdir ".." or die $!; unlink "h"; rmdir "sub" or die $!; for (1 .. 51) { chdir ".." or die $! } print ((stat ".")[1] == (stat "..")[1]); print "\n"'
        find x* -type f | wc -l; du -a x* | wc -l; cp -r x* y; diff -r x* y && echo same; tar c y | tar t | wc -l; rm -r x* y; ls"#,
    );
}

#[test]
fn dash_with_background_jobs_sees_every_file() {
    // SIGCHLD arrives while `[ -f … ]` looks: dash has a handler without SA_RESTART for it.
    differential_with(
        "dash",
        r#"trap : CHLD; missed=0; i=0
        while [ $i -lt 250 ]; do
            /bin/true & /bin/true &
            [ -f file ] || missed=$((missed + 1)); [ -d dir/sub ] || missed=$((missed + 1)); [ -x script ] || missed=$((missed + 1))
            [ -e missing ] && missed=$((missed + 1)); [ -h link ] || missed=$((missed + 1)); read x < file || missed=$((missed + 1))
            i=$((i + 1))
        done; wait; echo missed $missed"#,
        Compare::All,
    );
}

#[test]
fn dash_jobs_and_traps() {
    differential_with(
        "dash",
        r#"sleep 0.2 & first=$!; (sleep 0.1; exit 4) & second=$!; wait $second; echo $?; wait $first; echo $?
        trap 'echo term' TERM; kill -TERM $$; (trap 'echo sub; exit 5' TERM; kill -TERM $(exec sh -c 'echo $PPID'); sleep 1; echo not here); echo $?
        cat file & wait $!; echo $?; { echo a; sleep 0.1; echo b; } | while read l; do echo "[$l]"; done; cd dir && pwd && cd .. && pwd; umask; umask 077; : > private; ls -l private | cut -c1-10
        exec 3< file; read l <&3; echo $l; exec 3<&-; command -v cat; . ./script; kill -0 $$; echo $?; ulimit -n 64; cat many/*; sh -c 'exit 9'; echo $?"#,
        Compare::All,
    );
}

// ------------------------------------------------------------------------------------------------------------- coreutils

#[test]
fn coreutils_that_look() {
    differential(
        "ls; ls -a dir; ls -l; ls -lR | grep -v ^total; ls -1f many | sort; ls -d */ .. .; ls -l missing; ls -lL link dangling; ls -Q 'a b'; stat -c '%n %F %a %h %s %u %U %t' *; stat -c '%n %y' file link; stat -L -c '%F' link linkdir
        stat -f -c %T .; du -a --apparent-size dir | sort; wc many/* | tail -1; head -c 3 file; tail -n 2 dir/lines; cat -n dir/lines; sort -r dir/lines; md5sum file dir/lines; sha256sum < file; od -c file; readlink link; readlink -f link dir/up absolute dangling
        realpath linkdir/.. absolutedir; test -f file; echo $?; pwd -P; basename $PWD; df . > /dev/null; echo $?; cmp file hard; diff -r dir linkdir/; echo $?; comm file zero; tac dir/lines; nl file; file=$(< file); echo $file; id -u; groups; env | grep -c ^PATH; nproc > /dev/null; whoami",
    );
}

#[test]
fn coreutils_that_change() {
    differential(
        "cp file copy; cp -a dir copydir; cp -rL linkdir deref; cp -l file hardcopy; cp -s file symcopy; cp --parents dir/sub/inner empty; cp --reflink=auto file reflink; cp missing x; mv file moved; mkdir made; mv moved made/; mv dir renamed; mv -n zero link; mv -T empty empty2
        ln hard h2; ln -sf elsewhere link; ln -sfn renamed linkdir; ln -s x zero; rm zero; rm -f missing; rm missing; rm -r many; rm empty2; rmdir renamed; mkdir -p p/q/r; mkdir p; mkdir -m 700 'p/s/'; rmdir -p p/q/r; touch t1 t2/; touch -d '2001-02-03' hard; chmod -R u=rwX,go= copydir; chmod 4755 script; chgrp $(id -g) copy
        dd if=/dev/zero of=zeros bs=1k count=5 status=none; truncate -s 12345 zeros; truncate -s 2 copy; split -n 3 zeros part.; cat part.* | cmp - zeros; install -m 600 hard inst; rm $(mktemp -p . tXXXX); tee < hard a b; shred -n 1 -u a; mkfifo pipe2; mknod pipe3 p; sync hard; link hard hl; unlink hl; fallocate -l 4096 fa; stat -c '%n %s' *; sort -o renamed/lines renamed/lines; echo x | tee -a copy; rm -r copydir deref; stat -c '%n %a' renamed/*",
    );
}

#[test]
fn coreutils_timing_and_signals() {
    differential(
        "timeout 0.3 sleep 5; echo $?; timeout -s KILL 0.3 sleep 5; echo $?; timeout 5 cat file; echo $?; nohup cat file < /dev/null; nice cat file; yes | head -3; seq 100000 | tail -1; sleep 0.1 & wait; cat fifo & echo through > fifo; wait; echo x > /dev/full; echo $?; cat /dev/null; head -c 5 /dev/zero | od; stdbuf -o0 echo y; env -i /bin/pwd; setsid -w cat file; flock file cat file; xargs -n 3 -P 4 echo < <(seq 9) | wc -l",
    );
}

#[test]
fn find() {
    differential(
        "find . | sort; find . -not -type d -printf '%p %y %Y %m %n %s %l %T+\n' | sort; find -L . -name 'inner' 2>&1 | sort; find . -type f -exec cat {} + | sort | md5sum; find dir -depth | sort; find . -xdev -newer file | sort; find . -samefile file | sort; find . -empty | sort; find many -name 'f1*' -delete; find . -perm -111 -type f; find /no/such; find . -path ./dir -prune -o -print | sort; find . -execdir echo {} \\; | sort | head; find $W/dir -inum $(stat -c %i dir/lines); find . -links 2 -type f | sort; find . -user $(id -un) | wc -l; find /etc -maxdepth 1 2>/dev/null | wc -l",
    );
}

#[test]
fn grep() {
    differential(
        "grep -D skip -r content . | sort; grep -rl inner dir | sort; grep -D skip -R n . 2>&1 | sort; grep -rc '' many | sort; grep x missing; echo $?; grep -rn --include='f1*' 1 . | sort; grep -o o dir/lines; grep -q one dir/lines; echo $?; grep -rw two dir; grep -D skip -r deep . | sort; grep -r root /etc/passwd /etc/group | head -3",
    );
}

// -------------------------------------------------------------------------------------------------------------- archives

#[test]
fn tar() {
    differential(
        "tar cf - --sort=name --mtime=@0 . | tar tvf -; tar cf a.tar dir many link linkdir fifo hard file 'a b'; tar tf a.tar | sort; mkdir x; tar xf a.tar -C x; diff -r --no-dereference dir x/dir; stat -c '%n %a %h' x/* x/dir/*; [ x/file -ef x/hard ] && echo hard; tar czf a.tgz dir; tar tzf a.tgz | sort; tar rf a.tar zero; tar df a.tar; tar --delete -f a.tar zero; tar xf a.tar -O file; tar cf b.tar --exclude=sub dir; tar tf b.tar | sort; tar xf missing.tar 2>&1 | head -2; tar c dir | gzip | tar tz | sort; rm a.tgz a.tar b.tar",
    );
}

#[test]
fn rsync() {
    differential(
        "rsync -a --exclude fifo . ../copy/ && diff -r --no-dereference -x fifo . ../copy && echo same; echo changed > file; rsync -ain --exclude fifo ./ ../copy/ | grep -v '^\\.d'; rsync -aH --delete dir/ ../copy/dir/; rm dir/lines; rsync -a --delete dir/ ../copy/dir/; ls ../copy/dir; rsync -rc --stats dir/ ../copy/dir | grep 'Number of files'; rsync -a missing x 2>&1 | sed 's/(code.*//'; rsync -aR ./dir/sub/inner ../copy/r/; find ../copy/r | sort; rsync --inplace -a file ../copy/file; cat ../copy/file; rm -rf ../copy",
    );
}

// ------------------------------------------------------------------------------------------------------------------- git

#[test]
fn git() {
    printed(
        r#"export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' HOME=$D/githome; rm -rf $HOME ../clone ../tree; mkdir $HOME
        git config --global user.name T; git config --global user.email t@example.org; git config --global init.defaultBranch main; git config --global --add safe.directory '*'; git config --global gc.autoDetach false
        rm fifo absolute absolutedir; git init -q; git add .; git status --short; git commit -qm one; git log --format='%H %s'; git status; echo changed > file; rm zero; echo new > newfile; git status --short; git diff; git add -A; git commit -qm two
        git clone -q . ../clone; diff -r --no-dereference -x .git -x empty . ../clone && echo same; git -C ../clone log --oneline; git -C ../clone status --short; git checkout -q -b side HEAD~1; echo side > sidefile; git add sidefile; git commit -qm side; git merge -q -m merge main; git log --graph --oneline
        git gc -q; git count-objects; git fsck; git stash list; git mv sidefile moved; git commit -qam moved; git log --follow --oneline moved; git rev-parse HEAD; git worktree add -q ../tree main; git -C ../tree status --short; git worktree list | wc -l; git clean -ndx; git grep -c content; git blame -s moved; git archive HEAD | tar t | sort; git tag t; git push -q ../clone t; git -C ../clone tag; git submodule status; git ls-files -s | md5sum
        rm -rf ../clone ../tree"#,
    );
}

// -------------------------------------------------------------------------------------------------------- interpreters

#[test]
fn python() {
    differential(
        r#"cat > program.py << 'END'
import os, subprocess, asyncio, tempfile, shutil, glob, pathlib, sys, threading, multiprocessing, mmap, fcntl
def exists(name): return os.path.exists(name)
async def main():
    p = await asyncio.create_subprocess_exec('cat', 'dir/lines', stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate(); print(out, p.returncode)
    server = await asyncio.start_unix_server(lambda r, w: (w.write(b'served'), w.close()), 'socket')
    r, w = await asyncio.open_unix_connection('socket'); print(await r.read()); w.close(); server.close()
    print(len(await asyncio.gather(*[asyncio.to_thread(os.stat, 'file') for _ in range(20)])))
if __name__ == '__main__':
    print(os.getcwd(), sorted(os.listdir('.')), sys.argv)
    print(subprocess.run(['cat', 'file'], capture_output=True, text=True).stdout, subprocess.call('exit 3', shell=True), subprocess.check_output(['pwd'], cwd='dir', text=True))
    try: subprocess.run(['./missing'])
    except FileNotFoundError as e: print(e)
    try: open('missing')
    except OSError as e: print(e)
    for e in sorted(os.scandir('.'), key=lambda e: e.name): print(e.name, e.is_dir(), e.is_symlink(), e.inode() == e.stat(follow_symlinks=False).st_ino)
    print(sorted((top, sorted(dirs), sorted(files)) for top, dirs, files in os.walk('.')))
    print([str(p) for p in sorted(pathlib.Path('.').rglob('*'))][:9], sorted(glob.glob('many/f1*')))
    shutil.copytree('dir', 'pycopy', symlinks=True); shutil.move('pycopy', 'pymoved'); shutil.rmtree('many')
    with tempfile.TemporaryDirectory(dir='.') as d: open(d + '/x', 'w').write('y'); print(os.path.exists(d + '/x'))
    asyncio.run(main())
    fd = os.open('.', os.O_RDONLY); print(os.stat('file', dir_fd=fd).st_size, os.readlink('link', dir_fd=fd)); os.mkdir('bydirfd', dir_fd=fd); os.fchdir(fd)
    with open('file', 'r+b') as f: m = mmap.mmap(f.fileno(), 0); m[0:3] = b'MMA'; m.close()
    print(open('file').read())
    with open('file') as f: fcntl.flock(f, fcntl.LOCK_EX); print(subprocess.run(['flock', '-n', 'file', 'true']).returncode)
    with multiprocessing.get_context('fork').Pool(4) as pool: print(pool.map(os.path.getsize, ['file', 'dir/lines', 'zero']))
    with multiprocessing.get_context('spawn').Pool(2) as pool: print(pool.map(exists, ['file', 'missing']))
    ts = [threading.Thread(target=lambda i=i: open(f't{i}', 'w').write(str(i))) for i in range(20)]; [t.start() for t in ts]; [t.join() for t in ts]; print(sorted(glob.glob('t*')))
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0: os.execvp('sh', ['sh', '-c', 'exit 5'])
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])); print(os.statvfs('.').f_namemax, os.path.realpath('dir/up'), os.access('script', os.X_OK))
    os.replace('zero', 'replaced'); os.symlink('a', 'pylink'); os.link('file', 'pyhard'); os.chmod('file', 0o600); os.utime('file', (1, 2)); os.truncate('file', 4); os.sendfile(os.open('sent', os.O_CREAT | os.O_WRONLY), os.open('dir/lines', os.O_RDONLY), 0, 100)
    sys.exit(4)
END
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 program.py; echo $?"#,
    );
}

#[test]
fn timeouts_among_ignored_signals() {
    differential(
        r#"/usr/bin/python3 -c '
import os, select, signal, time
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
parent, child = os.getpid(), os.fork()
if child == 0:
    for _ in range(100): time.sleep(0.05); os.kill(parent, signal.SIGUSR1)
    os._exit(0)
def took(what):
    begin = time.monotonic(); result = what(); return result, 0.4 < time.monotonic() - begin < 2
print(took(lambda: signal.sigtimedwait([], 0.5)))
print(took(lambda: select.epoll().poll(0.5)))
print(took(lambda: signal.sigtimedwait([], 0.5)))
os.kill(child, signal.SIGKILL); os.wait()'"#,
    );
}

#[test]
fn names_of_sockets() {
    differential(
        r#"cat > names.py << 'END'
import os, socket
def bound(kind, name):
    s = socket.socket(socket.AF_UNIX, kind); s.bind(name); return s
top = os.getcwd()
server = bound(socket.SOCK_STREAM, top + '/server'); server.listen()
print(server.getsockname() == top + '/server')
client = bound(socket.SOCK_STREAM, top + '/client'); client.connect(top + '/server')
accepted, address = server.accept()
print(address == top + '/client', accepted.getpeername() == address, client.getpeername() == top + '/server', accepted.getsockname() == top + '/server')
a, b = bound(socket.SOCK_DGRAM, top + '/a'), bound(socket.SOCK_DGRAM, 'b')
a.sendto(b'to b', top + '/b'); data, sender = b.recvfrom(100); print(data, sender == top + '/a')
b.sendto(b'to a', sender); print(a.recvfrom(100))
if os.fork() == 0: print(a.getsockname() == top + '/a', flush=True); os._exit(0)
os.wait()
anonymous = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); anonymous.connect(top + '/server'); print(repr(server.accept()[1]), repr(anonymous.getsockname()))
abstract = bound(socket.SOCK_DGRAM, '\0of-%d' % os.getpid()); abstract.sendto(b'abstract', sender); print(a.recvfrom(100)[1][:4])
tcp = socket.create_server(('127.0.0.1', 0)); print(tcp.getsockname()[0])
for kind in 'server', 'client', 'a', 'b': os.unlink(kind)
END
/usr/bin/python3 names.py; echo $?"#,
    );
}

/// The kernel's name of a socket may be that of another one, of another name in the view, that was there before.
#[test]
fn names_of_sockets_that_take_the_place_of_others() {
    let script = "import os, socket
os.chdir('/'); top, seen = os.environ['W'], []
for name in os.environ['M'] + top + '/s', top + '/s', os.environ['M'] + top + '/s', top + '/s':
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind(name); seen.append(s.getsockname() == name); os.unlink(name)
print(seen)";
    let said = Site::new().session(&format!("vumount -t vufs / $M; /usr/bin/python3 -c \"{script}\""));
    assert_eq!(said.ok(), "[True, True, True, True]\n");
}

/// A name of the host's that is too long for an address leads by a descriptor, whose number is soon another directory's.
#[test]
fn long_names_of_sockets_are_told_apart() {
    let script = "import os, socket
def bound(name):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind(name); s.listen(); return s
def connected(name):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.connect(name); return s
names = [f'd{n}/s' for n in range(40)]
for name in names: os.mkdir(os.path.dirname(name))
servers = list(map(bound, names)); clients = list(map(connected, names))
print([s.getsockname() for s in servers] == names, [s.getpeername() for s in clients] == names)";
    let ran = Site::new().session(&format!(
        "up=$D/$(printf '%0120d'); mkdir $up; vumount -t vufs -o cow $up $W; /usr/bin/python3 -c \"{script}\""
    ));
    assert_eq!(ran.ok(), "True True\n");
}

#[test]
fn names_of_processes() {
    differential(
        r#"printf '#!/bin/bash\nread -r comm < /proc/self/comm; echo "$comm"\n' > first; printf '#!./first x\n' > second; printf '#!/usr/bin/env bash\nread -r comm < /proc/self/comm; echo "$comm"\n' > third; chmod +x first second third; ln -s first linked; ln -s /bin/cat dog
        ./first a; $W/first a b; ./second; $W/second c; $W/third; $W/linked; $W/a_name_that_is_missing 2> /dev/null; $W/dog /proc/self/comm; ./dog /proc/self/comm; $P/bin/cat /proc/self/comm; $P/bin/sh -c 'cat /proc/$$/comm; :'; (exec -a other $W/first); PATH=$W first; env -i $W/first; $W/first &
        wait; bash -c "exec $W/third q"; python3 -c 'import os, sys; os.execv(sys.argv[1], ["x"])' $W/first"#,
    );
}

#[test]
fn script_that_is_open_for_writing() {
    differential(
        r#"exec 3>> script; bash -c 'exec ./script' 2> /dev/null; echo $?; bash -c "exec $W/script" 2> /dev/null; echo $?; exec 3>&-; ./script a; $W/script b; python3 -c 'import os, sys
try: os.execv(sys.argv[1], ["x"])
except OSError as e: print(e.errno)' "$W/dir""#,
    );
}

#[test]
fn python_venv() {
    printed(
        "/usr/bin/python3 -m venv --without-pip venv && . venv/bin/activate && python -c 'import sys; print(sys.prefix != sys.base_prefix, sys.executable)' && ls venv venv/bin | sort && command -v python && rm -rf venv",
    );
}

#[test]
fn perl() {
    differential(
        r#"perl -e 'use Cwd; use File::Find; use File::Copy; use File::Path; $| = 1; print getcwd, "\n"; find(sub { push @f, $File::Find::name }, "."); print join("\n", sort @f), "\n"; copy("file", "plcopy"); move("zero", "plmoved"); mkpath("x/y/z"); rmtree("many");
        open F, "<", "dir/lines"; print while <F>; print -s "file", " ", (-d "dir" ? "dir" : "no"), " ", readlink("link"), "\n"; opendir D, "dir"; print join(" ", sort readdir D), "\n"; print `cat file`; system "exit 3"; print $? >> 8, "\n"; open P, "-|", "ls", "dir"; print <P>; close P; open(F, "<", "missing") or print "$!\n"; rename "file", "plrenamed"; chdir "dir"; print getcwd, "\n"; symlink "a", "b"; chmod 0600, "lines"; utime 1, 2, "lines"; $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; sleep 5; exit 6'; echo $?"#,
    );
}

#[test]
fn node() {
    differential(
        r#"node -e 'const fs = require("fs"), cp = require("child_process");
        console.log(process.cwd(), fs.readdirSync(".").sort(), fs.readFileSync("file", "utf8"), fs.statSync("dir").isDirectory(), fs.readlinkSync("link"), fs.realpathSync("dir/up"), fs.existsSync("missing"));
        try { fs.readFileSync("missing") } catch (e) { console.log(e.code, e.syscall) }
        console.log(cp.execSync("cat dir/lines").toString(), cp.spawnSync("sh", ["-c", "exit 4"]).status, cp.execFileSync("pwd", { cwd: "dir" }).toString());
        fs.mkdirSync("n/o/d", { recursive: true }); fs.writeFileSync("n/o/f", "x"); fs.cpSync("dir", "n/copy", { recursive: true, verbatimSymlinks: true }); fs.renameSync("zero", "n/zero"); fs.rmSync("many", { recursive: true }); fs.symlinkSync("a", "n/l"); fs.chmodSync("script", 0o700);
        (async () => { await Promise.all([...Array(50).keys()].map(i => fs.promises.writeFile(`n/p${i}`, String(i)))); console.log((await fs.promises.readdir("n")).length); let n = 0; for await (const d of await fs.promises.opendir("dir")) n += d.isDirectory() ? 100 : 1; console.log(n); const c = cp.spawn("cat", ["file"]); c.stdout.on("data", d => console.log(String(d))); c.on("close", code => { console.log(code); process.exit(9) }) })()'; echo $?"#,
    );
}

#[test]
fn sqlite() {
    printed(
        r#"sqlite3 db "create table t(a integer primary key, b text); insert into t(b) values('x'),('y'); select * from t;"; sqlite3 db "pragma journal_mode=wal; with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) insert into t(b) select 'row ' || i from n; select count(*), max(b) from t; pragma integrity_check;"
        for i in 1 2 3 4; do sqlite3 -cmd '.timeout 20000' db "begin immediate; insert into t(b) values('p'); commit;" & done; wait; sqlite3 db "select count(*) from t; vacuum; pragma wal_checkpoint(truncate); pragma journal_mode=delete;"; sqlite3 db .dump | md5sum; sqlite3 missing/db "create table x(a)"; echo $?; sqlite3 -readonly db "delete from t"; echo $?; ls"#,
    );
}

// ------------------------------------------------------------------------------------------------------------- compilers

#[test]
fn gcc_and_make() {
    printed(
        r##"mkdir src; for i in 1 2 3 4; do echo "int f$i(void) { return $i; }" > src/f$i.c; done; printf '#include <stdio.h>\n#include "src/all.h"\nint main(void) { printf("%%d\\n", f1() + f2() + f3() + f4()); return 5; }\n' > main.c; printf 'int f1(void), f2(void), f3(void), f4(void);\n' > src/all.h
        printf 'OBJ := main.o $(patsubst %%.c,%%.o,$(sort $(wildcard src/*.c)))\nprog: $(OBJ)\n\t@$(CC) -o $@ $^\n%%.o: %%.c\n\t@$(CC) -c -o $@ $<\nclean:\n\trm -f prog $(OBJ)\n' > Makefile
        make; ./prog; echo $?; make; sleep 0.05; touch src/f2.c; make -n; make clean; make -j4; ./prog; gcc -O2 -o whole main.c src/*.c && ./whole; gcc -c missing.c; echo $?; gcc -shared -fPIC -o libx.so src/f1.c; ldd ./prog | sed 's/ (.*//'; nm prog | grep -c ' T f'; objdump -d prog | grep -c '<main>'; gcc -E main.c | tail -3; echo 'int x = ;' | gcc -x c - ; echo $?; gcc -MM main.c; gcc -save-temps -c src/f1.c -o f1.o && ls; strip prog && ./prog; echo $?"##,
    );
}

#[test]
fn cargo_build() {
    let toolchain = toolchain();
    printed(&format!(
        r##"PATH="$P{0}/bin:$PATH"; export CARGO_HOME=$W/cargo CARGO_NET_OFFLINE=true CARGO_TERM_COLOR=never RUSTC="$P{0}/bin/rustc"
        mkdir -p app/src lib/src; printf '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nlib = {{ path = "../lib" }}\n' > app/Cargo.toml; printf '[package]\nname = "lib"\nversion = "0.1.0"\nedition = "2021"\nbuild = "build.rs"\n' > lib/Cargo.toml
        echo 'fn main() {{ println!("cargo:rustc-env=BUILT=yes"); }}' > lib/build.rs; echo 'pub fn built() -> &'"'static"' str {{ env!("BUILT") }} #[test] fn t() {{ assert_eq!(built(), "yes") }}' > lib/src/lib.rs; echo 'fn main() {{ println!("built: {{}}", lib::built()); std::process::exit(3) }}' > app/src/main.rs
        cd app; cargo build -q; echo $?; ./target/debug/app; echo $?; cargo run -q; echo $?; sleep 0.05; touch src/main.rs; cargo build 2>&1 | grep -o 'Compiling app'; echo 'fn main() {{ x }}' > src/main.rs; cargo build 2>&1 | grep '^error'; cargo metadata --format-version 1 --no-deps | grep -o '"name":"app"' | head -1; (cd ../lib && cargo test -q 2>&1 | grep 'test result' | head -1 | cut -d';' -f1); cargo clean 2>&1 | grep -o Removed; rm -rf ../app ../lib ../cargo"##,
        toolchain.display()
    ));
}

// ------------------------------------------------------------------------------------------------- programs of all kinds

#[test]
fn busybox_static() {
    differential(
        "B=$P/bin/busybox; [ -x $B ] || B=$P/usr/bin/busybox; $B ls; $B ls -l | $B tail -n +2 | $B grep -v '^d'; $B sh -c 'echo * && cat file && pwd && cd dir && pwd && ls'; $B find . | sort; $B tar c dir | $B tar t | sort; $B cp -r dir bbcopy; $B mv file bbmoved; $B rm -r many; $B grep -r inner dir | sort; $B stat -c '%n %a %h' script; $B readlink -f link; $B nosuch; echo $?; $B sh -c 'kill -9 $$'; echo $?; $B xargs -n 1 $B echo < dir/lines; $B sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do ls > /dev/null & done; wait; echo done'",
    );
}

#[test]
fn dynamic_program() {
    with_helper("hello", Flavour::Dynamic, "exec");
}

#[test]
fn static_program() {
    with_helper("hello", Flavour::Static, "exec");
}

#[test]
fn static_musl_program() {
    with_helper("hello", Flavour::Musl, "exec");
}

#[test]
fn program_of_32_bits() {
    with_helper("hello", Flavour::I386, "exec");
}

#[test]
fn handlers_and_processes_of_32_bits() {
    with_helper("interrupted", Flavour::I386, "handlers");
    with_helper("processes", Flavour::I386, "spawn");
}

#[test]
fn program_that_its_user_may_not_read() {
    for flavour in [Flavour::Dynamic, Flavour::Static] {
        let program = helper("hello", flavour);
        // Its memory is then unreadable to whoever traces it without privilege, its paths included.
        differential(&format!(
            "cp {} unreadable; chmod 111 unreadable; cat unreadable; ./unreadable a; echo $?; ./unreadable exec; echo $?; sh -c './unreadable b & wait'; chmod 755 unreadable",
            program.display()
        ));
    }
}

#[test]
fn handlers_without_restart() {
    with_helper("interrupted", Flavour::Dynamic, "handlers");
}

#[test]
fn handlers_and_calls_that_wait() {
    with_helper("interrupted", Flavour::Dynamic, "blocking");
}

#[test]
fn exec_by_a_thread_that_is_not_the_leader() {
    with_helper("processes", Flavour::Dynamic, "thread-exec");
}

#[test]
fn what_is_done_on_behalf_of_a_process() {
    with_helper(
        "on_behalf",
        Flavour::Dynamic,
        "umasks acl flags no_descriptors changes leases affinity namespaces failed_exec",
    );
    // In a cow mount owners can be changed, and Landlock does not count (README.md).
    let program = helper("on_behalf", Flavour::Dynamic);
    let script = format!("exec \"$P{}\" umasks landlock giving_away", program.display());
    differential_in(&[View::Nothing, View::Beside, View::Inside, View::Root], "sh", &script, Compare::All);
}

#[test]
fn storm_of_stats() {
    with_helper("processes", Flavour::Dynamic, "storm 8");
}

#[test]
fn five_hundred_processes_at_once() {
    with_helper("processes", Flavour::Dynamic, "crowd 500");
}

#[test]
fn fork_vfork_clone_spawn_and_self_exec() {
    with_helper("processes", Flavour::Dynamic, "spawn");
}

#[test]
fn signals_and_faults() {
    with_helper("processes", Flavour::Dynamic, "signals");
}

#[test]
fn orphans() {
    with_helper("processes", Flavour::Dynamic, "orphan");
}

#[test]
fn proc_is_the_processes_own() {
    differential(
        r#"readlink /proc/self/cwd; cd dir; readlink /proc/self/cwd; cd ..; readlink /proc/self/root; readlink /proc/$$/cwd; readlink -f /proc/self/exe; exec 5< file; readlink /proc/$$/fd/5; readlink /proc/self/fd/5; cat /proc/self/fd/5; cat /dev/fd/5; cat < /dev/stdin < file; echo err > /dev/stderr; echo out > /dev/stdout
        [ /proc/self/fd/5 -ef file ] && echo same; cat /proc/self/comm; tr '\0' ' ' < /proc/self/cmdline; echo; cat /proc/$$/cwd/file; ls /proc/$$/cwd/dir; stat -L -c %F /proc/self/exe /proc/self/cwd /proc/self/root; (cd /proc/self/cwd && pwd -P); (cd /proc/self && cat comm); cat /proc/self/cwd/../work/file; ls -d /proc/1 /proc/self/; head -c 8 /proc/version; echo; grep -c . /proc/self/status > /dev/null; echo $?"#,
    );
}

#[test]
fn scripts_and_their_interpreters() {
    differential(
        r#"printf '#!/usr/bin/env bash\necho env "$0" "$@"\n' > s1; printf '#!./s1 one two\n' > s2; printf '#! /bin/sh -e\nfalse\necho no\n' > s3; printf '#!/no/such\n' > s4; printf 'echo no first line\n' > s5; printf '#!' > s6; printf '#!/bin/sh' > s7; printf '#!%s/script arg\n' "$W" > s8; ln -s s1 sl; chmod +x s?
        for s in ./s1 ./s2 ./s3 ./s5 ./s7 ./s8 ./sl $W/s1 dir/../s1; do $s x y; echo "$s $?"; done; PATH=$W:$PATH; s1 by path; perl -e 'exec {"./s1"} "other name", "a"'; env -C dir ../s1 z; sh -c 'exec ./s2'; (exec -a renamed ./s1); (exec ./s4) 2> /dev/null; (exec ./s6); echo $?
        cp /bin/cat mycat; ./mycat file; cp /bin/sh mysh; ./mysh -c 'echo mysh; readlink /proc/$$/exe'; echo x > txt; chmod -x mycat; ./mycat; echo $?; rm mycat mysh"#,
    );
}

#[test]
fn umvu_version_inside() {
    printed("$UMVU --version; echo $?; $UMVU --help | head -3");
}

#[test]
fn a_view_in_a_view() {
    let site = Site::new();
    let inner = |outer| {
        let script = "\"$UMVU\" --norc -- bash -c 'cat file; ls; cd dir; pwd; exit 5'; echo $?";
        site.script_in(outer, "bash", script).ok()
    };
    let alone = inner(None);
    assert!(alone.ends_with("5\n") && alone.contains("content"), "{alone}");
    for view in View::ALL {
        assert_eq!(inner(Some(view)), alone, "{view:?}");
    }
}

#[test]
fn exit_status_and_death() {
    let site = Site::new();
    for view in View::ALL {
        for (script, status) in [
            ("exit 0", 0),
            ("exit 1", 1),
            ("exit 255", 255),
            ("kill -TERM $$", 143),
            ("kill -9 $$", 137),
            ("kill -SEGV $$", 139),
            ("kill -TRAP $$", 133),
        ] {
            let ran = site.script_in(Some(view), "bash", script);
            assert_eq!((ran.status.code(), ran.stderr().as_str()), (Some(status), ""), "{script} in {view:?}");
        }
    }
}

#[test]
fn limits_masks_and_names() {
    differential(
        "(ulimit -f 8; dd if=/dev/zero of=big bs=1k count=100 2>/dev/null); echo $?; stat -c %s big; ulimit -c 0; ulimit -n; umask 027; mkdir u; stat -c %a u; : > v; stat -c %a v; prlimit --nofile=32 cat file; nice -n 5 cat file; taskset -p $$ > /dev/null; echo $?; ionice -c 3 cat file; setpriv --no-new-privs cat file; getent passwd root; locale 2>&1 | head -1; date -d @0; uname -s; hostname > /dev/null; tty; getconf PATH; mount > /dev/null; echo $?",
    );
}

#[test]
fn scripts_that_may_not_be_executed() {
    differential_with(
        "bash",
        r#"printf '#!/bin/sh\necho ran "$@"\n' > plain; printf '#!%s/plain one\n' "$W" > by_plain; printf '#!./plain two\n' > here; chmod 644 plain; chmod 755 by_plain here
        for s in ./plain "$W/plain" ./by_plain "$W/by_plain" ./here; do env "$s"; echo $?; env sh -c 'exec "$0"' "$s" 2> /dev/null; echo $?; done
        for mode in 700 500 100 400 010 001 000; do chmod $mode plain; env "$W/plain" 2> /dev/null; echo $mode $?; done"#,
        Compare::Output,
    );
}

/// Whatever they are on the host, programs find what was asked for in the auxiliary vector, their arguments and their name.
#[test]
fn programs_find_the_names_they_were_executed_by() {
    for flavour in [Flavour::Dynamic, Flavour::Static, Flavour::I386] {
        let program = helper("named", flavour);
        let script = format!(
            r#"cp "$P{}" prog; ln -s prog other; printf '#!./prog x\n' > script; mkdir -p deep/er; cp prog deep/er/p
            for way in path nothing dir fd link; do
                for p in ./prog prog "$W/prog" ./other ./deep/er/p ./script ./deep/../deep/./er/../er/p missing; do ./prog $way $p; done
            done"#,
            program.display()
        );
        differential_with("sh", &script, Compare::Output);
    }
}

/// Agents execute programs by themselves that were executed a moment ago; nobody can tell by their names.
#[test]
fn programs_that_are_executed_again_and_again() {
    let program = helper("named", Flavour::Dynamic);
    let script = format!(
        r#"cp "$P{}" prog; ln -s prog other; mkdir -p deep/er; cp prog deep/er/p
        for n in 1 2 3 4 5 6; do
            for p in "$W/prog" "$W/other" "$W/deep/er/p" "$W/deep/../prog" "$W//prog" ./prog "$P/bin/true"; do "$W/prog" path "$p"; "$W/prog" link "$p"; done
        done
        python3 -c 'import subprocess, sys
for n in range(8):
    for path in sys.argv[1:]: print(subprocess.run([path, "path", path], stdout=-1).stdout)' "$W/prog" "$W/deep/er/p""#,
        program.display()
    );
    differential_with("sh", &script, Compare::Output);
}

/// What was found out of a program is not believed when it is another one.
#[test]
fn programs_that_change_between_two_executions() {
    let script = r##"
        cp "$P/bin/true" true; cp "$P/bin/false" false; cp true program; ln -s program link; mkdir d e; cp true d/p; cp false e/p
        check() { "$W/program" a; echo $?; "$W/link" b; echo $?; }
        for i in 1 2 3 4 5 6; do
            check; printf '#!/bin/echo script
' > program; check
            cat false > program; check
            ln -sf false link; check; ln -sf program link; check
            chmod 644 program; check; chmod 755 program; check
            rm program; check; cp true program; check
            cp false new; mv new program; check
            : > program; check; cp true program; check
            truncate -s 0 program; check; cp true program; check
            chmod 644 program; printf '#!/bin/echo quiet
' > program; chmod 755 program; check; chmod 644 program; cp false program; check; chmod 755 program; check; cp true program; check
            ln -s d l; "$W/l/p"; echo $?; rm l; mkdir l; cp false l/p; "$W/l/p"; echo $?; rm l/p; cp true l/p; "$W/l/p"; echo $?; rm -r l
            "$W/d/p"; echo $?; mv d f; mv e d; "$W/d/p"; echo $?; mv d e; mv f d; "$W/d/p"; echo $?
            printf '#!/bin/echo linked
' > script; chmod 755 script; rm program; ln script program; check; rm script
        done"##;
    differential_with("sh", script, Compare::Output);
}

/// The dynamic linker's files are as good as any others: a mount over them counts, in all processes, also where the first mount was elsewhere; so does a root of one's own.
#[test]
fn mounts_over_the_files_of_the_dynamic_linker() {
    let site = Site::new();
    let look = "/bin/true 2>&1 | grep -c none.so; sh -c '/bin/true; true' 2>&1 | grep -c none.so";
    let text = site
        .session(&format!(
            "mkdir -p etc root; echo /none.so > etc/preload; cp /etc/ld.so.cache etc/cache; vumount -t vufs /usr $W/m
             {look}
             vumount -t vufs $W/etc/preload /etc/ld.so.preload 2> /dev/null; {look}
             vuumount /etc/ld.so.preload 2> /dev/null; {look}
             vumount -t vufs / $W/root; vumount -t vufs $W/etc/preload $W/root/etc/ld.so.preload; {look}
             chroot $W/root sh -c '/bin/true; true' 2>&1 | grep -c none.so; {look}"
        ))
        .stdout();
    assert_eq!(text, "0\n0\n1\n2\n0\n0\n0\n0\n2\n0\n0\n");
    // A mount that covers them, and goes.
    let covered = format!(
        "mkdir -p other; echo /none.so > other/ld.so.preload; vumount -t vufs /usr $W/m; vumount -t vufs $W/other /etc 2> /dev/null; {look}; vuumount /etc 2> /dev/null; {look}"
    );
    assert_eq!(site.session(&covered).stdout(), "1\n2\n0\n0\n");
}

/// The C library asks about open files by a call with a path: virtual ones answer, in mounts that come first, and in those that come later.
#[test]
fn open_files_of_devices_that_are_asked_about_by_the_library() {
    let site = Site::new();
    let ask = "python3 -c 'import os, stat; f = os.open(\"null\", os.O_WRONLY); s = os.fstat(f); print(stat.S_ISCHR(s.st_mode), stat.S_ISREG(os.fstat(os.open(\"file\", 0)).st_mode))'; \
               [ -c /proc/self/fd/1 ] > null; echo $?";
    for first in ["", "vumount -t vufs /usr $W/m;"] {
        let text = site
            .session(&format!("echo 1 > file; vu_insmod vudev; {first} vumount -t vudevnull none $W/null; {ask}"))
            .ok();
        assert_eq!(text, "True True\n0\n", "{first}");
        site.reset();
    }
}

/// Paths of execs are exchanged in the memory of the caller: nobody notices, whatever else lies there.
#[test]
fn execs_leave_what_lies_beside_their_paths() {
    let program = helper("overwritten", Flavour::Dynamic);
    let script = format!(
        r#"cp "$P{0}" prog; ln -s prog link; printf '#!%s/prog x\n' "$W" > script; echo text > text; echo plain > plain; chmod 755 script text; chmod 644 plain
        exec "$P{0}" "$W""#,
        program.display()
    );
    differential_with("sh", &script, Compare::All);
}

/// What was found out of a path with links is not believed any longer than it holds.
#[test]
fn links_that_change_right_after_they_were_followed() {
    let program = helper("links", Flavour::Dynamic);
    differential_with("sh", &format!(r#"exec "$P{}" "$W""#, program.display()), Compare::All);
}

/// The same where nobody in the view changes them.
#[test]
fn links_that_are_changed_from_outside() {
    let program = helper("links", Flavour::Dynamic);
    let site = Site::new();
    let (work, next, done) = (site.work(), site.path().join("next"), site.path().join("done"));
    let changes = std::thread::spawn(move || {
        while !next.exists() {
            std::thread::yield_now();
        }
        std::os::unix::fs::symlink("../e/two", work.join("d/new")).unwrap();
        std::fs::rename(work.join("d/new"), work.join("d/link")).unwrap();
        std::fs::write(done, "").unwrap();
    });
    let arguments = format!(r#""$M$W" "{0}/next" "{0}/done""#, site.path().display());
    let told =
        site.session(&format!(r#"vu_insmod vufs; vumount -t vufs / "$M" && {} {arguments} 2>&1"#, program.display()));
    changes.join().unwrap();
    assert_eq!(told.stdout(), "before: '1' 0, 1 0, 0\nbefore: '1' 0, 1 0, 0\nafter: '22' 0, 2 0, 0\n");
}

/// Who receives a descriptor is confined to a core for as long as it takes it, and not a moment longer.
#[test]
fn affinities_after_an_open() {
    with_helper("affinity", Flavour::Dynamic, r#""$W/file""#);
}

/// A program whose loader is there only in the view shows none of the loader's words.
#[test]
fn programs_of_another_loader_have_their_own_names() {
    let program = helper("named", Flavour::Dynamic);
    let site = Site::new();
    let tells = site
        .session(&format!(
            r#"cd "$W"; cp {} prog; vu_insmod vufs
            sed -i 's#/lib64/ld-linux-x86-64.so.2#/view4/ld-linux-x86-64.so.2#' prog; ./prog; echo $?
            vumount -t vufs /lib64 /view4; ./prog; ./prog path ./prog; ./prog nothing ./prog; ./prog fd prog; ./prog link prog"#,
            program.display()
        ))
        .stdout();
    let expected = "127\n1 ./prog, by ./prog, comm prog, exe /prog, cmdline ./prog|, vdso 1\n\
        2 zero, by ./prog, comm prog, exe /prog, cmdline zero|one|, vdso 1\n\
        1 , by ./prog, comm prog, exe /prog, cmdline |, vdso 1\n";
    assert!(tells.starts_with(expected), "{tells}");
    assert_eq!(tells.matches("exe /prog, cmdline zero|one|").count(), 3, "{tells}");
}

/// Looks at what lies behind a directory that may not be searched: its owner may not, nor, for it, who is root otherwise. `$drop` gives root up.
pub const BEHIND_A_SHUT_DIRECTORY: &str = "mkdir -p way/shut/deep; echo x > way/shut/deep/file; echo p > way/plain; ln -s shut/deep way/link; chmod 755 . way; chmod 600 way/shut
    $drop sh -c 'exec 2>&1; stat -c %n way/shut/deep/file; ls -d way/shut/deep way/shut/missing way/shut/missing/more way/plain/x way/missing; test -e way/shut/deep; echo $?; readlink way/shut/deep/file
        stat -c %n way/shut/../plain way/link/file way/link/missing way/shut/. way/shut; cat way/shut/deep/file; mkdir way/shut/new; mv way/plain way/shut/deep; ln -s x way/shut/link; cd way/shut'\n";

/// The same by relative names, from below.
pub const FROM_BESIDE_IT: &str = "$drop sh -c 'exec 2>&1; cd way && stat -c %n shut/deep plain link; cat shut/deep/file; mkdir shut/new; cd shut; basename $(pwd -P); ls -d ../way'
    chmod 700 way/shut; find way | sort\n";

#[test]
fn behind_a_directory_that_may_not_be_searched() {
    printed(&format!("{BEHIND_A_SHUT_DIRECTORY}{FROM_BESIDE_IT}"));
}
