//! What `vudebug` switches on: each category says what its line in the table promises, for one command or for the view, and nothing else.

use crate::harness::Site;

const SHELL: &str = "mkdir -p low up; echo a > low/f; vumount -t vufs -o cow $W/up $W/low";

/// The lines of the log, without the numbers of processes; `$W` is the place of the files.
fn log(script: &str) -> Vec<String> {
    let site = Site::new();
    let ran = site.session(&format!("{SHELL}\n{script}"));
    let place = site.path().join("work");
    let lines = ran.stderr().replace(place.to_str().unwrap(), "$W");
    lines.lines().map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned()).collect()
}

#[test]
fn each_category_tells_of_its_own() {
    let categories = [
        ("c", "vu_lsmod", "c ActiveModules"),
        ("f", "ls low", "f $W/low is open, as a virtual file"),
        ("k", "cat low/f", "k openat comes by a notification"),
        ("k", "vumount -t vufs / low", "k mount comes by a stop"),
        ("l", "cat low/f", "l locate $W/low/f below epoch 1: the host"),
        ("m", "cat low/f", "m $W/low/f: vufs on $W/low"),
        (
            "n",
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"low/s\")'",
            "n the socket $W/low/s: the host's $W/up/s",
        ),
        ("p", "cat low/f", "p $W/low/f: the host's"),
        ("s", "cat low/f", "s openat(AT_FDCWD, \"low/f\", O_RDONLY) = "),
        ("t", "sh -c '/bin/true; :'", "t has ended"),
        ("M", "vumount -t vufs / low", "M vufs made vufs on $W/low"),
    ];
    for (letter, command, expected) in categories {
        let lines = log(&format!("vudebug +{letter} -- {command} > /dev/null; cat low/f > /dev/null 2> /dev/null"));
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{letter}: no {expected:?} in {lines:#?}");
        let own = format!("{letter} ");
        assert!(lines.iter().all(|line| line.starts_with(&own)), "{letter}: more than that in {lines:#?}");
        let after = lines.iter().filter(|line| line.starts_with(expected)).count();
        let alone = log(&format!("vudebug +{letter} -- {command} > /dev/null"));
        assert_eq!(
            after,
            alone.iter().filter(|line| line.starts_with(expected)).count(),
            "{letter}: of another command"
        );
    }
}

#[test]
fn calls_that_signals_interrupt_are_told() {
    let storm = "import os, signal, time
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
# However long it takes until one is met.
end = time.time() + 60
while time.time() < end and not os.path.getsize(\"log\"): os.path.exists(\"low/f\")
signal.setitimer(signal.ITIMER_REAL, 0)";
    let site = Site::new();
    let ran = site.native(&format!(
        ": > log; umvu=$(command -v umvu || echo {}); \"$umvu\" -N -m vufs sh -c '{SHELL}; vudebug +i -- python3 -c \"$0\"' '{storm}' 2> log; grep -c 'is made again after the signal' log",
        crate::harness::UMVU.display()
    ));
    assert!(ran.stdout().trim().parse::<usize>().unwrap_or(0) > 0, "{}{}", ran.stdout(), ran.stderr());
}

#[test]
fn a_view_is_told_of_until_it_is_switched_off() {
    let lines =
        log("vudebug +m:red; cat low/f > /dev/null; vudebug ?m; vudebug -m; cat low/f > /dev/null; vudebug ?m >&2");
    let expected = ["m $W/low/f: vufs on $W/low", "- mounts    mounts and umounts, and which mount answers a path [r]"];
    assert_eq!(lines, expected);
}
