//! Debuggers inside a view: strace, gdb and ltrace tell what they tell outside.

use crate::harness::{Compare, Flavour, Site, View, difference, differential_with, helper};

/// What differs from run to run: addresses, numbers of processes, random bytes, times used, who of two threads is first (futex), and the prefix at which the tree is seen in what strings are long.
const NORMAL: &str = r#"normal() { sed -E 's/0x[0-9a-f]+/ADDRESS/g; s/\b[0-9]{3,}\b/N/g; s/"[^"]*"\.\.\./"…"/g; /getrandom/d; /^futex/d; s/parent_tid=\[[0-9N]+\]/parent_tid/; s/si_utime=[^}]*//; s/ +/ /g; s/ $//'; }
"#;

#[track_caller]
fn debugs(script: &str) {
    let program = helper("debugged", Flavour::Debuggable);
    let setup = format!("{NORMAL}cp \"$P{}\" prog\n", program.display());
    differential_with("bash", &(setup + script), Compare::Output);
}

#[test]
fn strace_tells_the_calls_of_each_process() {
    debugs(
        r#"strace -ff -s 200 -o trace ./prog /bin/echo end; echo $?; ls trace.* | wc -l
        for f in trace.*; do normal < $f | tr '\n' '|'; echo; done | sort"#,
    );
}

#[test]
fn strace_follows_children_and_threads() {
    debugs(
        r#"strace -f -e trace=execve,mkdir,exit,exit_group -e signal=none -o trace ./prog /bin/echo end; echo $?
        sed -E 's/^[0-9]+ +//' trace | normal | sort
        strace -f -c -o summary ./prog > /dev/null; echo $?; awk '$NF ~ /^(mkdir|execve|wait4|vfork|clone3)$/ { print $4, $NF }' summary | sort
        strace -f sh -c './prog | cat; (exit 3)' 2> /dev/null; echo $?; strace -e trace=none sh -c 'kill -TERM $$' 2>&1 | normal"#,
    );
}

#[test]
fn strace_attaches() {
    debugs(
        r#"sh -c 'read -r line < fifo; ls empty; exit 5' & job=$!
        strace -e trace=read,exit_group -e signal=none -o trace -p $job 2> log & tracer=$!
        until grep -qs attached log; do sleep 0.02; done; echo go > fifo
        wait $job; echo $?; wait $tracer; echo $?; grep -c 'go' trace; tail -2 trace | normal
        sleep 600 & job=$!; strace -o trace -p $job 2> second & tracer=$!
        until grep -qs attached second; do sleep 0.02; done; kill -INT $tracer; wait $tracer; echo $?; kill -0 $job && kill $job; wait $job; echo $?"#,
    );
}

/// A debugger without children sleeps in another call than its wait, and a signal that comes as that begins ends it all the same, and so does a child
/// that another thread has.
#[test]
fn signals_end_waits_as_they_begin() {
    let program = helper("wait_signalled", Flavour::Dynamic);
    let site = Site::new();
    let native = site.native(program.to_str().unwrap()).ok();
    assert_eq!(native, "slept on: none, ended otherwise: 0\nchild: told, 7\ndebugger 0\n");
    assert_eq!(site.session(program.to_str().unwrap()).ok(), native);
}

/// Who is attached to in the middle of an exec is met behind it, at the stop that was asked for. (The kernel tells of the exec, and then of its exit, whose entry
/// nobody saw: strace complains. So it does here when an exec falls between its two calls, to attach and to ask for a stop, which is rare.)
#[test]
fn strace_attaches_to_what_executes() {
    let script = r#"printf '%s\n' '#!/bin/sh' '[ -e end ] || exec ./again' > again; chmod +x again
        ./again & job=$!
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
            strace -qq -e trace=none -e signal=none -p $job & tracer=$!
            until grep -q "TracerPid:.$tracer$" /proc/$job/status; do :; done; kill -INT $tracer; wait $tracer
        done 2> complaints; touch end; wait $job; echo $?; [ $(wc -l < complaints) -lt 3 ] || cat complaints"#;
    let site = Site::new();
    // With nothing mounted, /proc is the host's, and tells of the hypervisor.
    for view in View::ALL.into_iter().filter(|view| *view != View::Nothing) {
        site.reset();
        let seen = site.script_in(Some(view), "bash", script).text();
        assert_eq!(seen, "0\n--- stderr\n--- exit status: 0\n", "in the view {view:?}");
    }
}

/// A filter of its own makes the debuggee stop at some calls only.
#[test]
fn strace_with_its_own_filter() {
    debugs(
        r#"strace -ff --seccomp-bpf -e trace=mkdir,execve -e signal=none -o trace ./prog /bin/echo end 2>&1
        for f in trace.*; do normal < $f | tr '\n' '|'; echo; done | sort"#,
    );
}

const GDB: &str = r#"gdb_script() { printf '%s\n' 'set pagination off' 'set confirm off' 'set width 0' "$@" > commands; }
debug() { gdb -nx -q --batch -x commands "$@" 2>&1 | grep -v '^\[' | normal | tr -s ' ' | sed -E 's/LWP [0-9]+/LWP/g; s/process [0-9]+/process/g'; }
"#;

#[test]
fn gdb_breaks_steps_calls_and_watches() {
    debugs(&format!(
        r#"{GDB}
        gdb_script 'break add' 'run > out' bt finish delete 'print add(5, 6)' 'watch counter' continue continue 'info watchpoints' delete \
            'handle SIGUSR1 stop print' continue 'print counter = 100' 'catch exec' continue 'info inferiors' continue
        debug --args ./prog ./script x; cat out"#
    ));
}

#[test]
fn gdb_follows_forks_and_threads() {
    debugs(&format!(
        r#"{GDB}
        gdb_script 'set breakpoint pending on' 'break worker' 'run > out' 'info threads' 'thread apply all print counter' next next delete continue
        debug ./prog; cat out
        gdb_script 'set follow-fork-mode child' 'catch syscall mkdir' 'run > parent' 'continue' continue
        debug ./prog
        gdb_script 'catch fork' 'catch vfork' 'run > out' continue 'delete' continue
        debug ./prog; cat out"#
    ));
}

#[test]
fn gdb_attaches_and_detaches() {
    debugs(&format!(
        r#"{GDB}
        sh -c 'read -r line < fifo; exit 5' & job=$!; sleep 0.2
        gdb_script "attach $job" 'print 1 + 1' 'info inferiors' detach
        debug /bin/sh | grep -e '= 2' -e detached; echo go > fifo; wait $job; echo $?
        sleep 30 & job=$!; gdb_script "attach $job" 'signal SIGTERM'; debug /bin/sleep | grep -i terminated; wait $job; echo $?"#
    ));
}

#[test]
fn ltrace_tells_the_library_calls() {
    debugs(
        r#"ltrace -e add -e pthread_create -e signal -e raise -o trace ./prog > out; echo $?; cat out; normal < trace
        ltrace -f -o trace ./prog > out; echo $?; grep -o -e 'waitpid(' -e 'pthread_create(' -e 'fork(' -e 'execl(' -e 'SIG[A-Z0-9]*' -e 'exited.*' trace | sort
        ltrace -S -e nanosleep -o trace ./prog > out; echo $?; grep -c SYS_mprotect trace; grep -o 'SYS_exit_group.*' trace"#,
    );
}

#[test]
fn who_is_stopped_can_be_asked_as_soon_as_it_is_attached_to() {
    let program = helper("attaches", Flavour::Dynamic);
    differential_with("sh", &format!("\"$P{}\"", program.display()), Compare::Output);
}

#[test]
fn a_debugger_that_is_killed_leaves_its_tracees_running() {
    debugs(
        r#"sh -c 'read -r line < fifo; exit 6' & job=$!
        strace -o trace -p $job 2> log & tracer=$!
        until grep -qs attached log; do sleep 0.02; done; kill -KILL $tracer; wait $tracer 2> /dev/null; echo go > fifo; wait $job; echo $?"#,
    );
}

#[test]
fn programs_see_their_own_filters_only() {
    let program = helper("own_filters", Flavour::Dynamic);
    differential_with("sh", &format!("cp \"$P{}\" prog; ./prog calls", program.display()), Compare::Output);
    let program = helper("own_filters", Flavour::I386);
    differential_with("sh", &format!("cp \"$P{}\" prog; ./prog calls", program.display()), Compare::Output);
}

/// Where paths are looked at, `/proc` tells of the debugger in the view, and of what the program itself has asked for.
#[test]
fn proc_tells_of_debuggers_and_filters_inside() {
    let program = helper("own_filters", Flavour::Dynamic);
    let script = format!(
        r#"cp "$P{}" prog; ./prog status
        show() {{ grep -E '^(State|TracerPid|NoNewPrivs|Seccomp|Seccomp_filters):' "$@"; }}
        show /proc/self/status; cd /proc/self; show status | grep Tracer; show task/*/status | grep Tracer; cd "$W"
        sleep 60 & job=$!; kill -STOP $job; until grep -q stopped /proc/$job/status; do :; done
        show /proc/$job/status; cut -d' ' -f3 /proc/$job/stat; cd /proc/$job; cut -d' ' -f3 stat; cd "$W"; ps -o stat= -p $job
        kill -CONT $job; until ps -o stat= -p $job | grep S; do :; done; kill $job
        strace -qq -e trace=none -e signal=none sh -c 'grep -q "TracerPid:.$PPID$" /proc/$$/status && echo strace'
        sh -c 'read -r line < fifo' & job=$!; strace -qq -e trace=none -e signal=none -p $job & tracer=$!
        until grep -q "TracerPid:.$tracer$" /proc/$job/status; do :; done; echo go > fifo; wait $job; echo $?"#,
        program.display()
    );
    let site = Site::new();
    let once = |view| {
        site.reset();
        site.script_in(view, "bash", &script).text()
    };
    let native = once(None);
    for view in View::ALL.into_iter().filter(|view| *view != View::Nothing) {
        let seen = once(Some(view));
        assert_eq!(native, seen, "in the view {view:?}:\n{}", difference(&native, &seen));
    }
}
