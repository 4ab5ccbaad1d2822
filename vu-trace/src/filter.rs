//! The seccomp filters that decide which system calls of a tracee are looked at.
//!
//! A filter is made of plain lists ([`FilterSpec`]), one per entry into the kernel: `syscall` of 64-bit code, and `int 0x80` (i386 programs, but
//! any 64-bit program, too). What is in no list is allowed.
//!
//! That verdict is worth keeping cheap: the kernel runs each filter once per number when it is installed, and where it sees *allow* without a look at an
//! argument, it never runs the filter for that number again (`seccomp_cache_prepare`, `kernel/seccomp.c`). So the way to it tests
//! nothing but the architecture and the number, and arguments are looked at only for the numbers that have a condition.
//!
//! The rules are compiled by `seccompiler`, one program per verdict, and linked here: it knows neither the verdict
//! `SECCOMP_RET_USER_NOTIF` nor i386, its own first instructions kill whoever enters by another door, and it lets the numbers of x32 pass.

use libc::sock_filter;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::{BTreeMap, BTreeSet};
use vu_api::Errno;

/// When a call is intercepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// Each time.
    Always,
    /// Unless its sixth argument is the view's cookie: for calls that have at most five. By the 32-bit entry, which has no room for a cookie, each time.
    WithoutCookie,
    /// Only if the argument of this index (0–5) is not 0.
    ArgumentNotZero(u8),
    /// Only if the argument of this index is, as an `int`, one of these.
    ArgumentIn(u8, &'static [u32]),
    /// Only then, and without the cookie.
    ArgumentInWithoutCookie(u8, &'static [u32]),
}

impl When {
    /// Whether a call with these arguments is intercepted; `cookie` is the view's.
    #[must_use]
    pub fn applies(self, args: &[u64; 6], cookie: u64) -> bool {
        let argument = |index: u8| args.get(usize::from(index)).copied().unwrap_or(0);
        // The filter compares the lower half.
        let is_in = |index, values: &[u32]| {
            values.iter().any(|&value| u64::from(value) == argument(index) & u64::from(u32::MAX))
        };
        match self {
            When::Always => true,
            When::WithoutCookie => argument(COOKIE_ARGUMENT) != cookie,
            When::ArgumentNotZero(index) => argument(index) != 0,
            When::ArgumentIn(index, values) => is_in(index, values),
            When::ArgumentInWithoutCookie(index, values) => is_in(index, values) && argument(COOKIE_ARGUMENT) != cookie,
        }
    }
}

/// A call to intercept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Its number.
    pub nr: i64,
    /// When.
    pub when: When,
}

/// What is done with the calls of one entry into the kernel. A number stands in one of the lists at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// They stop the tracee: `PTRACE_EVENT_SECCOMP`, the number being the event's message.
    pub trace: Vec<Rule>,
    /// They wait at the filter's listener.
    pub notify: Vec<Rule>,
    /// They fail at once.
    pub refuse: Vec<(i64, Errno)>,
}

/// A place where a library makes a call whose path is a constant of the library: it is known by the place of its instruction in a page, and by where
/// the path stands from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Site {
    /// The call's number, by `syscall`.
    pub nr: u32,
    /// Which argument is the path (0–5).
    pub path: u8,
    /// Which argument is the flags, and all that is in it.
    pub flags: (u8, u32),
    /// The address behind the `syscall` instruction, within its page (below 4096).
    pub in_page: u32,
    /// The address of the path, seen from there.
    pub distance: i32,
}

/// What is done with the calls of a [`Site`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtSite {
    /// They go to the kernel, whatever the lists say.
    Allow,
    /// They stop the tracee, as [`Calls::trace`].
    Trace,
    /// They stop it, and are made to be such as the lists say, although other filters would let them pass here.
    Unmask,
}

/// The message of the stops of [`AtSite::Unmask`], and the index of the flags' argument: no calls have these numbers.
pub(crate) const UNMASK: u32 = 0xfff0;

/// Which argument makes a call known by its place, by the message of a stop; `None` if the stop was for something else.
pub(crate) fn masked(message: u64) -> Option<usize> {
    usize::try_from(message.checked_sub(UNMASK.into())?).ok().filter(|&index| index < 6)
}

/// What is done with calls whose number has the bit of the x32 ABI set (`__X32_SYSCALL_BIT`). They are a third numbering of the same calls, which few
/// kernels offer and next to no program uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum X32 {
    /// They go to the kernel.
    Allow,
    /// They fail with `ENOSYS`, as in a kernel without x32.
    Refuse,
}

/// What a filter does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterSpec {
    /// The calls by `syscall`.
    pub x86_64: Calls,
    /// The calls by `int 0x80` and the 32-bit vDSO, in the numbering of i386.
    pub i386: Calls,
    /// The calls in the numbering of x32.
    pub x32: X32,
    /// The secret of the view: see [`When::WithoutCookie`].
    pub cookie: u64,
    /// The places where libraries make calls that are known by that, and what is done there.
    pub sites: Vec<(Site, AtSite)>,
}

/// Why there is no filter. All of these are defects of the lists.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A number that no system call can have.
    #[error("system call number {0} cannot be filtered")]
    Number(i64),
    /// A number that has two rules.
    #[error("system call number {0} is listed twice")]
    Twice(i64),
    /// What seccompiler says.
    #[error("the filter cannot be compiled: {0}")]
    Compile(#[from] seccompiler::BackendError),
    /// More instructions than a filter may have.
    #[error("the filter has {0} instructions, the kernel takes {MAX_INSTRUCTIONS}")]
    TooLong(usize),
}

/// `BPF_MAXINSNS` (`include/uapi/linux/bpf_common.h`).
const MAX_INSTRUCTIONS: usize = 4096;

/// `AUDIT_ARCH_*` (`include/uapi/linux/audit.h`).
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// The numbers of x32 are those from here up to [`FIRST_NEGATIVE`]; what is negative as an `int` is of no ABI, although the bit is set
/// there, too (`do_syscall_x32`, `arch/x86/entry/syscall_64.c`).
const FIRST_X32: u32 = 0x4000_0000;
const FIRST_NEGATIVE: u32 = 0x8000_0000;

/// Where things stand in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
const INSTRUCTION: u32 = 8;
const ARGUMENTS: u32 = 16;
/// In the second half of a 64-bit word.
const HIGH: u32 = 4;

/// The index of the argument that carries the cookie.
const COOKIE_ARGUMENT: u8 = 5;

const RETURN: u16 = 0x06;
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const AND: u16 = 0x54;
const SUBTRACT_X: u16 = 0x1c;
const TO_X: u16 = 0x07;

/// What seccompiler puts first: load the architecture, compare, kill.
const SECCOMPILER_PROLOGUE: usize = 3;

/// Compiles a filter. One that notifies is to be installed with `SECCOMP_FILTER_FLAG_NEW_LISTENER` (seccomp(2)), and at most one filter of a task can be.
///
/// # Errors
/// The lists are wrong, see [`FilterError`].
pub fn compile(spec: &FilterSpec) -> Result<Vec<sock_filter>, FilterError> {
    let mut x86_64 = at_sites(&spec.sites);
    x86_64.extend(entry(&spec.x86_64, Some(spec.cookie))?);
    let i386 = entry(&spec.i386, None)?;

    let mut program = vec![load(ARCH), branch(JUMP_EQUAL, AUDIT_ARCH_X86_64, 1, 0)];
    let first = match spec.x32 {
        X32::Allow => Vec::new(),
        X32::Refuse => vec![
            load(NR),
            branch(JUMP_AT_LEAST, FIRST_NEGATIVE, 2, 0),
            branch(JUMP_AT_LEAST, FIRST_X32, 0, 1),
            ret(refused(Errno::ENOSYS)),
        ],
    };
    program.push(jump(first.len() + x86_64.len()));
    program.extend(first);
    program.extend(x86_64);

    // The accumulator still holds the architecture. A third one does not exist on this machine; if it did, its calls would
    // not be understood here and must not pass unseen.
    program.extend([branch(JUMP_EQUAL, AUDIT_ARCH_I386, 1, 0), ret(refused(Errno::ENOSYS))]);
    program.extend(i386);

    if program.len() > MAX_INSTRUCTIONS { Err(FilterError::TooLong(program.len())) } else { Ok(program) }
}

/// The part of a program that decides about the calls of one entry. It ends by allowing them.
fn entry(calls: &Calls, cookie: Option<u64>) -> Result<Vec<sock_filter>, FilterError> {
    let mut seen = BTreeSet::new();
    let all = calls.trace.iter().chain(&calls.notify).map(|rule| rule.nr).chain(calls.refuse.iter().map(|&(nr, _)| nr));
    for nr in all {
        if !(0..i64::from(FIRST_X32)).contains(&nr) {
            return Err(FilterError::Number(nr));
        }
        if !seen.insert(nr) {
            return Err(FilterError::Twice(nr));
        }
    }

    let mut by_errno: BTreeMap<Errno, Vec<Rule>> = BTreeMap::new();
    for &(nr, errno) in &calls.refuse {
        by_errno.entry(errno).or_default().push(Rule { nr, when: When::Always });
    }

    let mut program = segment(&calls.notify, libc::SECCOMP_RET_USER_NOTIF, cookie)?;
    for rule in &calls.trace {
        // Its own number as the event's message: the tracer need not look it up.
        let message = u32::try_from(rule.nr).unwrap_or(0) & libc::SECCOMP_RET_DATA;
        program.extend(segment(std::slice::from_ref(rule), libc::SECCOMP_RET_TRACE | message, cookie)?);
    }
    for (errno, rules) in by_errno {
        program.extend(segment(&rules, refused(errno), cookie)?);
    }
    program.push(ret(libc::SECCOMP_RET_ALLOW));
    Ok(program)
}

/// The part of a program that knows the calls of libraries. To everything else it does nothing.
fn at_sites(sites: &[(Site, AtSite)]) -> Vec<sock_filter> {
    let plain = |code, k| sock_filter { code, jt: 0, jf: 0, k };
    let argument = |index: u8| ARGUMENTS + 8 * u32::from(index);
    let mut program = Vec::new();
    let numbers: BTreeSet<u32> = sites.iter().map(|(site, _)| site.nr).collect();
    for nr in numbers {
        let mut of_number = Vec::new();
        for (site, at) in sites.iter().filter(|(site, _)| site.nr == nr) {
            let verdict = match at {
                AtSite::Allow => libc::SECCOMP_RET_ALLOW,
                AtSite::Trace => libc::SECCOMP_RET_TRACE | (nr & libc::SECCOMP_RET_DATA),
                AtSite::Unmask => libc::SECCOMP_RET_TRACE | UNMASK | u32::from(site.flags.0),
            };
            let (path, (flags, value)) = (argument(site.path), site.flags);
            of_number.extend([
                load(INSTRUCTION),
                plain(AND, 0xfff),
                branch(JUMP_EQUAL, site.in_page, 0, 15),
                load(argument(flags)),
                branch(JUMP_EQUAL, value, 0, 13),
                load(argument(flags) + HIGH),
                branch(JUMP_EQUAL, 0, 0, 11),
                load(INSTRUCTION),
                plain(TO_X, 0),
                load(path),
                plain(SUBTRACT_X, 0),
                branch(JUMP_EQUAL, site.distance.cast_unsigned(), 0, 6),
                load(INSTRUCTION + HIGH),
                plain(TO_X, 0),
                // A path in another 4 GiB than the instruction is left to the lists.
                load(path + HIGH),
                plain(SUBTRACT_X, 0),
                branch(JUMP_EQUAL, 0, 0, 1),
                ret(verdict),
            ]);
        }
        program.extend([load(NR), branch(JUMP_EQUAL, nr, 1, 0), jump(of_number.len())]);
        program.extend(of_number);
    }
    program
}

/// The part of a program that gives `verdict` to what one of the rules applies to. To everything else it does nothing: control arrives
/// behind its end.
fn segment(rules: &[Rule], verdict: u32, cookie: Option<u64>) -> Result<Vec<sock_filter>, FilterError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let conditions = |when: When| -> Result<Vec<SeccompRule>, FilterError> {
        let (index, value) = match (when, cookie) {
            (When::Always, _) | (When::WithoutCookie, None) => return Ok(Vec::new()),
            (When::WithoutCookie, Some(cookie)) => (COOKIE_ARGUMENT, cookie),
            (When::ArgumentNotZero(index), _) => (index, 0),
            (When::ArgumentIn(index, values) | When::ArgumentInWithoutCookie(index, values), _) => {
                let cookie = cookie.filter(|_| matches!(when, When::ArgumentInWithoutCookie(..)));
                let is = |&value| {
                    let mut all = vec![SeccompCondition::new(
                        index,
                        SeccompCmpArgLen::Dword,
                        SeccompCmpOp::Eq,
                        u64::from(value),
                    )?];
                    if let Some(cookie) = cookie {
                        let (argument, length) = (COOKIE_ARGUMENT, SeccompCmpArgLen::Qword);
                        all.push(SeccompCondition::new(argument, length, SeccompCmpOp::Ne, cookie)?);
                    }
                    SeccompRule::new(all)
                };
                return Ok(values.iter().map(is).collect::<Result<_, _>>()?);
            }
        };
        let differs = SeccompCondition::new(index, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, value)?;
        Ok(vec![SeccompRule::new(vec![differs])?])
    };
    let rules: BTreeMap<i64, Vec<SeccompRule>> =
        rules.iter().map(|rule| Ok((rule.nr, conditions(rule.when)?))).collect::<Result<_, FilterError>>()?;

    // Any action that is not "allow" will do: it marks the place of the verdict.
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trap, TargetArch::x86_64)?;
    let compiled = BpfProgram::try_from(filter)?.split_off(SECCOMPILER_PROLOGUE);
    let length = compiled.len();
    Ok(compiled
        .into_iter()
        .enumerate()
        .map(|(at, instruction)| match (instruction.code, instruction.k) {
            (RETURN, libc::SECCOMP_RET_ALLOW) => jump(length - at - 1),
            (RETURN, _) => ret(verdict),
            // seccompiler has a type of its own of the same layout.
            (code, k) => sock_filter { code, jt: instruction.jt, jf: instruction.jf, k },
        })
        .collect())
}

/// The verdict that makes a call fail.
fn refused(errno: Errno) -> u32 {
    libc::SECCOMP_RET_ERRNO | (errno.raw().unsigned_abs() & libc::SECCOMP_RET_DATA)
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: offset }
}

fn ret(verdict: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: verdict }
}

/// Skips instructions. Programs are far shorter than 2³² of them.
fn jump(over: usize) -> sock_filter {
    sock_filter { code: JUMP, jt: 0, jf: 0, k: u32::try_from(over).unwrap_or(u32::MAX) }
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "words of an interpreted program")]
mod tests {
    use super::*;

    const COOKIE: u64 = 0x0123_4567_89ab_cdef;

    /// What a program says to a call, and whether it looked at an argument for that.
    fn run(program: &[sock_filter], arch: u32, nr: u32, args: [u64; 6]) -> (u32, bool) {
        run_at(0, program, arch, nr, args)
    }

    /// The same, of a call by the instruction before this address.
    fn run_at(instruction: u64, program: &[sock_filter], arch: u32, nr: u32, args: [u64; 6]) -> (u32, bool) {
        let words = [&[instruction][..], &args].concat();
        let (mut at, mut accumulator, mut index, mut looked) = (0, 0u32, 0, false);
        loop {
            let instruction = program[at];
            at += 1;
            match instruction.code {
                RETURN => return (instruction.k, looked),
                LOAD_WORD if instruction.k == NR => accumulator = nr,
                LOAD_WORD if instruction.k == ARCH => accumulator = arch,
                LOAD_WORD => {
                    looked = true;
                    let (word, rest) = ((instruction.k - INSTRUCTION) / 4, (instruction.k - INSTRUCTION) % 4);
                    assert_eq!(rest, 0);
                    let whole = words[word as usize / 2];
                    accumulator = (if word % 2 == 0 { whole & 0xffff_ffff } else { whole >> 32 }) as u32;
                }
                AND | TO_X | SUBTRACT_X => {
                    assert!(looked, "the kernel's emulator does not know instruction {:#x}", instruction.code);
                    match instruction.code {
                        AND => accumulator &= instruction.k,
                        TO_X => index = accumulator,
                        _ => accumulator = accumulator.wrapping_sub(index),
                    }
                }
                JUMP => at += instruction.k as usize,
                code => {
                    let holds = match code {
                        JUMP_EQUAL => accumulator == instruction.k,
                        JUMP_AT_LEAST => accumulator >= instruction.k,
                        _ => panic!("the kernel's emulator must know instruction {code:#x}"),
                    };
                    at += usize::from(if holds { instruction.jt } else { instruction.jf });
                }
            }
        }
    }

    fn spec() -> FilterSpec {
        let rule = |nr, when| Rule { nr, when };
        FilterSpec {
            x86_64: Calls {
                trace: vec![rule(165, When::Always), rule(30_325, When::Always)],
                notify: vec![
                    rule(2, When::WithoutCookie),
                    rule(44, When::ArgumentNotZero(4)),
                    rule(59, When::Always),
                    rule(72, When::ArgumentIn(1, &[7, 1 << 31])),
                    rule(73, When::ArgumentInWithoutCookie(1, &[7, 1 << 31])),
                ],
                refuse: vec![(425, Errno::ENOSYS), (155, Errno::EPERM), (426, Errno::ENOSYS)],
            },
            i386: Calls {
                trace: vec![rule(21, When::Always)],
                notify: vec![rule(5, When::WithoutCookie)],
                refuse: vec![(425, Errno::ENOSYS)],
            },
            x32: X32::Refuse,
            cookie: COOKIE,
            sites: sites(AtSite::Allow),
        }
    }

    fn sites(at: AtSite) -> Vec<(Site, AtSite)> {
        let site = |nr, path, flags, in_page, distance| (Site { nr, path, flags, in_page, distance }, at);
        vec![
            site(262, 1, (3, 0x1000), 0x92a, 0x936f),
            site(262, 1, (3, 0x1000), 0x874, -0x1_2345),
            site(21, 0, (1, 4), 0x92a, 0x936f),
        ]
    }

    #[test]
    fn a_library_s_call_is_known_by_its_place_and_path() {
        let notified = |nr| Rule { nr, when: When::WithoutCookie };
        for (at, expected) in [
            (AtSite::Allow, libc::SECCOMP_RET_ALLOW),
            (AtSite::Trace, libc::SECCOMP_RET_TRACE | 262),
            (AtSite::Unmask, libc::SECCOMP_RET_TRACE | UNMASK | 3),
        ] {
            let mut spec = FilterSpec { sites: sites(at), ..spec() };
            spec.x86_64.notify.extend([262, 21].map(notified));
            let program = compile(&spec).unwrap();
            let verdict = |instruction: u64, nr, distance: i64, flags| {
                let path = instruction.wrapping_add_signed(distance);
                run_at(instruction, &program, AUDIT_ARCH_X86_64, nr, [3, path, 0, flags, 0, 0]).0
            };
            for base in [0x7f94_1ca9_8000, 0x5555_5555_4000] {
                assert_eq!(verdict(base + 0x92a, 262, 0x936f, 0x1000), expected);
                assert_eq!(verdict(base + 0x874, 262, -0x1_2345, 0x1000), expected);
                for (place, nr, distance, flags) in [
                    (0x92b, 262, 0x936f, 0x1000),
                    (0x92a, 262, 0x9370, 0x1000),
                    (0x92a, 262, 0x936f + (1 << 32), 0x1000),
                    (0x92a, 262, -0x1_2345, 0x1000),
                    (0x92a, 262, 0x936f, 0x1100),
                    (0x92a, 262, 0x936f, 1 << 32 | 0x1000),
                    (0x92a, 262, 0x936f, 0),
                    (0x92a, 2, 0x936f, 0x1000),
                    (0x92a, 21, 0x936f, 0x1000),
                ] {
                    assert_eq!(verdict(base + place, nr, distance, flags), libc::SECCOMP_RET_USER_NOTIF);
                }
                assert_eq!(verdict(base + 0x92a, 4, 0x936f, 0x1000), libc::SECCOMP_RET_ALLOW, "one in no list");
                let access = [base + 0x92a + 0x936f, 4, 0, 0, 0, 0];
                let (said, _) = run_at(base + 0x92a, &program, AUDIT_ARCH_X86_64, 21, access);
                assert_eq!(said & !0xffff, expected & !0xffff);
            }
        }
    }

    /// What the spec means, said in the other direction: from the call to the verdict.
    fn meant(spec: &FilterSpec, arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let calls = match arch {
            AUDIT_ARCH_X86_64 if spec.x32 == X32::Refuse && nr >> 30 == 1 => return refused(Errno::ENOSYS),
            AUDIT_ARCH_X86_64 => &spec.x86_64,
            AUDIT_ARCH_I386 => &spec.i386,
            _ => return refused(Errno::ENOSYS),
        };
        let nr = i64::from(nr);
        let applies = |rule: &&Rule| {
            rule.nr == nr
                && match rule.when {
                    When::Always => true,
                    When::WithoutCookie => arch == AUDIT_ARCH_I386 || args[5] != spec.cookie,
                    When::ArgumentNotZero(index) => args[usize::from(index)] != 0,
                    When::ArgumentIn(index, values) => values.contains(&(args[usize::from(index)] as u32)),
                    When::ArgumentInWithoutCookie(index, values) => {
                        values.contains(&(args[usize::from(index)] as u32))
                            && (arch == AUDIT_ARCH_I386 || args[5] != spec.cookie)
                    }
                }
        };
        if calls.trace.iter().any(|rule| applies(&rule)) {
            libc::SECCOMP_RET_TRACE | (nr as u32)
        } else if calls.notify.iter().any(|rule| applies(&rule)) {
            libc::SECCOMP_RET_USER_NOTIF
        } else if let Some(&(_, errno)) = calls.refuse.iter().find(|&&(refused, _)| refused == nr) {
            refused(errno)
        } else {
            libc::SECCOMP_RET_ALLOW
        }
    }

    #[test]
    fn the_program_does_what_the_lists_say() {
        let numbers = (0..600)
            .chain([30_325, 30_326, 1 << 20, 0x3fff_ffff, 0x4000_0000, 0x4000_0053, 0x7fff_ffff, 0x8000_0000])
            .chain([0xffff_ffff, 0x4000_0000 | 600]);
        let arguments = [
            [0, 7, 0, 0, 0, 0],
            [0, 7 | 1 << 40, 0, 0, 0, 0],
            [0, 8, 0, 0, 0, 0],
            [0, u64::MAX << 31, 0, 0, 0, 0],
            [0; 6],
            [u64::MAX; 6],
            [COOKIE; 6],
            [0, 0, 0, 0, 1 << 40, COOKIE],
            [0, 7, 0, 0, 0, COOKIE],
            [0, 7, 0, 0, 0, COOKIE ^ 1],
            [0, 0, 0, 0, 0, COOKIE ^ 1 << 63],
        ];
        for x32 in [X32::Allow, X32::Refuse] {
            let spec = FilterSpec { x32, ..spec() };
            let program = compile(&spec).unwrap();
            for nr in numbers.clone() {
                for arch in [AUDIT_ARCH_X86_64, AUDIT_ARCH_I386, 0xc000_00b7] {
                    for args in arguments {
                        let (verdict, _) = run(&program, arch, nr, args);
                        assert_eq!(verdict, meant(&spec, arch, nr, args), "{arch:x} {nr:x} {args:x?}");
                    }
                }
            }
        }
    }

    /// What the kernel's cache of constant verdicts needs.
    #[test]
    fn calls_without_a_rule_are_allowed_by_their_number_alone() {
        let spec = FilterSpec { sites: Vec::new(), ..spec() };
        let program = compile(&spec).unwrap();
        let mut allowed = 0;
        for nr in 0..600 {
            for arch in [AUDIT_ARCH_X86_64, AUDIT_ARCH_I386] {
                let (verdict, looked) = run(&program, arch, nr, [0; 6]);
                if verdict == libc::SECCOMP_RET_ALLOW && !(arch == AUDIT_ARCH_X86_64 && [44, 72, 73].contains(&nr)) {
                    assert!(!looked, "{arch:x} {nr}");
                    allowed += 1;
                }
            }
        }
        assert_eq!(allowed, 2 * 600 - 12);
    }

    #[test]
    fn an_empty_spec_is_a_filter_too() {
        let empty = FilterSpec {
            x86_64: Calls::default(),
            i386: Calls::default(),
            x32: X32::Allow,
            cookie: COOKIE,
            sites: Vec::new(),
        };
        let program = compile(&empty).unwrap();
        for arch in [AUDIT_ARCH_X86_64, AUDIT_ARCH_I386] {
            assert_eq!(run(&program, arch, 0x4000_0000, [COOKIE; 6]), (libc::SECCOMP_RET_ALLOW, false));
        }
    }
}
