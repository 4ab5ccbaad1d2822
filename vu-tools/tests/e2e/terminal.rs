//! An interactive bash in a terminal: what is on the screen in a view is what is on the screen on the host.

use crate::harness::{Running, Site, UMVU, View, collect, give};
use nix::pty::{Winsize, openpty};
use nix::unistd::ttyname;
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// A program in a terminal of its own, and what it has written there.
struct Terminal {
    keyboard: File,
    output: Receiver<Vec<u8>>,
    /// Everything since the last expectation.
    pending: String,
    /// Everything.
    screen: String,
    program: Running,
    view: Option<View>,
}

impl Terminal {
    /// Starts `command` in a session of its own, whose controlling terminal is a new one.
    fn start(mut command: Command, view: Option<View>) -> Terminal {
        let size = Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        give(&ttyname(&pty.slave).unwrap());
        let slave = || pty.slave.try_clone().unwrap();
        command.stdin(slave()).stdout(slave()).stderr(slave());
        let program = Running(command.spawn().unwrap());
        let keyboard = File::from(pty.master);
        let output = collect(keyboard.try_clone().unwrap());
        Terminal { keyboard, output, pending: String::new(), screen: String::new(), program, view }
    }

    fn send(&mut self, keys: &str) {
        // A key that is a signal throws away what was typed and not yet read, as on any terminal.
        if keys.starts_with(char::is_control) {
            std::thread::sleep(Duration::from_millis(300));
        }
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the program has written `text`.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(at) = self.pending.find(text) {
                self.pending.drain(..at + text.len());
                return;
            }
            let Ok(bytes) = self.output.recv_timeout(end.saturating_duration_since(Instant::now())) else {
                panic!("{text:?} does not appear in {:?}; the screen is:\n{}", self.view, self.screen);
            };
            let said = String::from_utf8_lossy(&bytes);
            self.pending += &said;
            self.screen += &said;
        }
    }

    /// Types a line at the prompt and waits for the next prompt.
    #[track_caller]
    fn line(&mut self, line: &str) {
        self.send(&format!("{line}\n"));
        self.expect(PROMPT);
    }
}

const PROMPT: &str = "ready> ";

/// Bash on a new terminal, natively or in a view, at its first prompt.
#[track_caller]
fn bash(site: &Site, view: Option<View>) -> Terminal {
    let mut command = site.user_command("/usr/bin/setsid");
    command.args(["--ctty", "--wait"]);
    if view.is_some() {
        command.arg(&*UMVU).args(["--norc", "-m", "vufs", "--"]);
    }
    command.args(["bash", "--norc", "--noprofile", "-i"]);
    command.env("PS1", PROMPT).env("TERM", "dumb").env("INPUTRC", "/dev/null").env("HISTFILE", "/dev/null");
    let mut terminal = Terminal::start(command, view);
    terminal.expect(PROMPT);
    match view {
        None | Some(View::Nothing) => {}
        Some(View::Beside) => terminal.line("vumount -t vufs / $M"),
        Some(View::Inside) => terminal.line("vumount -t vufs / $M; cd $M$W; PATH=$M/usr/bin:$M/bin"),
        Some(View::Root) => terminal.line("vumount -t vufs / /"),
        Some(View::Cow) => terminal.line("mkdir -p $D/cow; vumount -t vufs -o cow,except=/proc $D/cow /"),
        Some(View::Upper | View::Merge) => unreachable!("none of the views that a terminal is opened in"),
    }
    terminal
}

/// Plays the same on a terminal of the host and one of every view.
#[track_caller]
fn everywhere(play: impl Fn(&mut Terminal)) {
    for view in [None, Some(View::Nothing), Some(View::Beside), Some(View::Inside), Some(View::Root), Some(View::Cow)] {
        let site = Site::new();
        let mut terminal = bash(&site, view);
        play(&mut terminal);
        terminal.send("\nexit 17\n");
        assert_eq!(terminal.program.wait().code(), Some(17), "{view:?}; the screen was:\n{}", terminal.screen);
    }
}

#[test]
fn control_c_ends_the_program_in_the_foreground() {
    everywhere(|terminal| {
        terminal.send("echo begin; sleep 1000\n");
        terminal.expect("begin\r\n");
        terminal.send("\x03");
        terminal.expect(PROMPT);
        terminal.line("echo status=$?");
        assert!(terminal.screen.contains("status=130"), "{}", terminal.screen);
        // In a pipeline, all of it; in a loop, the loop.
        terminal.send("echo again; sleep 1000 | cat | sleep 1000\n");
        terminal.expect("again\r\n");
        terminal.send("\x03");
        terminal.expect(PROMPT);
        terminal.send("while :; do sleep 1; done\n");
        terminal.send("\x03");
        terminal.expect(PROMPT);
        // And none at the prompt; ^\ dumps core or at least says Quit.
        terminal.send("half a line");
        terminal.expect("half a line");
        terminal.send("\x03");
        terminal.expect("^C");
        terminal.expect(PROMPT);
        terminal.send("echo core; sleep 1000\n");
        terminal.expect("core\r\n");
        terminal.send("\x1c");
        terminal.expect("Quit");
        terminal.expect(PROMPT);
    });
}

#[test]
fn job_control() {
    everywhere(|terminal| {
        terminal.send("echo begin; sleep 1000\n");
        terminal.expect("begin\r\n");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect(PROMPT);
        terminal.send("jobs\n");
        terminal.expect("[1]+  Stopped");
        terminal.expect(PROMPT);
        terminal.send("bg\n");
        terminal.expect("sleep 1000 &");
        terminal.expect(PROMPT);
        terminal.send("jobs\n");
        terminal.expect("[1]+  Running");
        terminal.expect(PROMPT);
        terminal.send("fg\n");
        terminal.expect("sleep 1000\r\n");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect(PROMPT);
        terminal.line("kill %1; sleep 0.3");
        terminal.line("jobs");
        assert!(terminal.screen.contains("Terminated"), "{:?}: {}", terminal.view, terminal.screen);
        // A pipeline is one job, and goes on where it was stopped.
        terminal.send("(for i in 1 2 3 4 5 6; do echo tick $i; sleep 0.3; done) | cat\n");
        terminal.expect("tick 2\r\n");
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect(PROMPT);
        std::thread::sleep(Duration::from_millis(700));
        terminal.send("fg\n");
        terminal.expect("tick 6\r\n");
        terminal.expect(PROMPT);
        // A program in the background that reads from the terminal is stopped by the kernel.
        terminal.line("cat & sleep 0.5");
        terminal.send("jobs\n");
        terminal.expect("Stopped");
        terminal.expect(PROMPT);
        terminal.line("kill -9 %1; wait 2> /dev/null");
        terminal.send("sleep 0.2 & wait; echo waited\n");
        terminal.expect("\r\nwaited\r\n");
        terminal.expect(PROMPT);
    });
}

#[test]
fn completion_history_and_size() {
    everywhere(|terminal| {
        terminal.send("cat dir/li\t\n");
        terminal.expect("cat dir/lines");
        terminal.expect("one\r\ntwo\r\nthree\r\n");
        terminal.expect(PROMPT);
        terminal.send("cat many/f1\t\t");
        terminal.expect("f19");
        terminal.send("\x03");
        terminal.expect("^C");
        terminal.expect(PROMPT);
        terminal.line("echo $((6 * 7)) > answer");
        terminal.send("cat answ\t\n");
        terminal.expect("\r\n42\r\n");
        terminal.expect(PROMPT);
        terminal.send("\x10");
        terminal.expect("cat answer");
        terminal.send("\n");
        terminal.expect("\r\n42\r\n");
        terminal.expect(PROMPT);
        terminal.send("stty size; tty | cut -c1-9; [ -t 0 ] && echo terminal; echo there > /dev/tty\n");
        terminal.expect("24 200\r\n/dev/pts/\r\nterminal\r\nthere\r\n");
        terminal.expect(PROMPT);
        terminal.send("read -p 'name? ' name; echo \"hello $name\"\n");
        terminal.expect("name? ");
        terminal.send("WORLD\n");
        terminal.expect("hello WORLD\r\n");
        terminal.expect(PROMPT);
        terminal.send("cat > typed\n");
        std::thread::sleep(Duration::from_millis(300));
        terminal.send("first\nsecond\n\x04");
        terminal.expect(PROMPT);
        terminal.send("wc -l typed\n");
        terminal.expect("2 typed");
        terminal.expect(PROMPT);
    });
}

#[test]
fn signals_of_the_terminal_do_not_end_umvu() {
    let site = Site::new();
    let mut terminal = bash(&site, Some(View::Beside));
    for key in ["\x03", "\x1c", "\x03"] {
        terminal.send(key);
    }
    terminal.line("");
    terminal.send("ls $M$W/file\n");
    terminal.expect("/work/file");
    terminal.expect(PROMPT);
    terminal.send("\x04");
    assert_eq!(terminal.program.wait().code(), Some(0));
}

#[test]
fn a_closed_terminal_hangs_up() {
    let site = Site::new();
    let mut terminal = bash(&site, Some(View::Beside));
    terminal.line("sleep 1000 &");
    let Terminal { keyboard, output, mut program, .. } = terminal;
    // The reader holds the terminal's other end as long as it reads.
    drop(output);
    drop(keyboard);
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(program.pid()), nix::sys::signal::Signal::SIGHUP);
    program.wait();
    let begin = Instant::now();
    while !crate::harness::survivors(&site).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(100), "its processes are still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}
