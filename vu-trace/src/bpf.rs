//! What a seccomp filter says to a call: the classic BPF that `seccomp_check_filter` lets pass (`kernel/seccomp.c`), interpreted.

use crate::x86_64::{Abi, Registers};
use libc::sock_filter;

/// `struct seccomp_data`, in words: number, architecture, instruction pointer, arguments.
pub(crate) struct Data([u32; 16]);

impl Data {
    /// Of a call that is about to be made.
    pub(crate) fn of(regs: &Registers, abi: Abi) -> Data {
        let mut words = [0; 16];
        let halves = |value: u64| {
            let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
            [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
        };
        words[0] = halves(regs.syscall().cast_unsigned())[0];
        words[1] = abi.audit_arch();
        let wide = [regs.instruction()].into_iter().chain(regs.args(abi));
        for (pair, value) in words[2..].chunks_exact_mut(2).zip(wide) {
            pair.copy_from_slice(&halves(value));
        }
        Data(words)
    }

    /// The same, of a call that is skipped.
    pub(crate) fn skipped(&self) -> Data {
        let mut words = self.0;
        words[0] = u32::MAX;
        Data(words)
    }
}

/// What filters say to a call, the oldest first: of all verdicts the strictest, and of those that are equally strict the newest (`seccomp_run_filters`).
pub(crate) fn strictest<'a>(programs: impl DoubleEndedIterator<Item = &'a [sock_filter]>, data: &Data) -> u32 {
    let strictness = |verdict: u32| (verdict & libc::SECCOMP_RET_ACTION_FULL).cast_signed();
    programs.rev().fold(libc::SECCOMP_RET_ALLOW, |strictest, program| {
        let said = verdict(program, data);
        if strictness(said) < strictness(strictest) { said } else { strictest }
    })
}

/// Whether a filter may say `SECCOMP_RET_TRACE` to anything.
pub(crate) fn may_trace(program: &[sock_filter]) -> bool {
    program.iter().any(|instruction| {
        instruction.code == RETURN_ACCUMULATOR
            || instruction.code == RETURN && instruction.k & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_TRACE
    })
}

const RETURN: u16 = 0x06;
const RETURN_ACCUMULATOR: u16 = 0x16;

/// A program that the kernel has taken ends well; what could not have been one says "allow".
fn verdict(program: &[sock_filter], data: &Data) -> u32 {
    let (mut a, mut x) = (0u32, 0u32);
    let mut memory = [0u32; 16];
    let mut at = 0usize;
    let length = u32::try_from(size_of_val(&data.0)).unwrap_or(0);
    let cell = |k: u32| usize::try_from(k).unwrap_or(usize::MAX);
    while let Some(&sock_filter { code, jt, jf, k }) = program.get(at) {
        at += 1;
        let operand = if code & SOURCE_X != 0 { x } else { k };
        match code {
            RETURN => return k,
            RETURN_ACCUMULATOR => return a,
            0x20 => a = data.0.get(cell(k / 4)).copied().unwrap_or(0),
            0x80 => a = length,
            0x81 => x = length,
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = memory.get(cell(k)).copied().unwrap_or(0),
            0x61 => x = memory.get(cell(k)).copied().unwrap_or(0),
            0x02 | 0x03 => {
                if let Some(place) = memory.get_mut(cell(k)) {
                    *place = if code == 0x02 { a } else { x };
                }
            }
            0x07 => x = a,
            0x87 => a = x,
            0x04 | 0x0c => a = a.wrapping_add(operand),
            0x14 | 0x1c => a = a.wrapping_sub(operand),
            0x24 | 0x2c => a = a.wrapping_mul(operand),
            // A division by zero ends the program with 0 (`bpf_convert_filter`).
            0x34 | 0x3c => match a.checked_div(operand) {
                Some(quotient) => a = quotient,
                None => return 0,
            },
            0x44 | 0x4c => a |= operand,
            0x54 | 0x5c => a &= operand,
            0xa4 | 0xac => a ^= operand,
            0x64 | 0x6c => a = a.wrapping_shl(operand),
            0x74 | 0x7c => a = a.wrapping_shr(operand),
            0x84 => a = a.wrapping_neg(),
            0x05 => at = at.saturating_add(cell(k)),
            0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d => {
                let holds = match code & !SOURCE_X {
                    0x15 => a == operand,
                    0x25 => a > operand,
                    0x35 => a >= operand,
                    _ => a & operand != 0,
                };
                at += usize::from(if holds { jt } else { jf });
            }
            _ => return libc::SECCOMP_RET_ALLOW,
        }
    }
    libc::SECCOMP_RET_ALLOW
}

/// `BPF_X`: the operand is the index register.
const SOURCE_X: u16 = 0x08;

#[cfg(test)]
mod tests {
    use super::*;

    fn data(nr: u32) -> Data {
        let mut words = [7; 16];
        words[0] = nr;
        Data(words)
    }

    fn op(code: u16, k: u32) -> sock_filter {
        sock_filter { code, jt: 0, jf: 0, k }
    }

    #[test]
    fn instructions() {
        let run = |program: &[sock_filter]| verdict(program, &data(5));
        let ret = op(RETURN_ACCUMULATOR, 0);
        for (code, expected) in
            [(0x04, 8), (0x14, 2), (0x24, 15), (0x34, 1), (0x44, 7), (0x54, 1), (0xa4, 6), (0x64, 40), (0x74, 0)]
        {
            assert_eq!(run(&[op(0x20, 0), op(code, 3), ret]), expected, "{code:x} with a number");
            assert_eq!(run(&[op(0x01, 3), op(0x20, 0), op(code | SOURCE_X, 99), ret]), expected, "{code:x} with X");
        }
        assert_eq!(run(&[op(0x20, 0), op(0x84, 0), ret]), 5u32.wrapping_neg());
        assert_eq!(run(&[op(0x20, 0), op(0x3c, 0), ret]), 0, "a division by X, which is zero");
        assert_eq!(run(&[op(0x80, 0), op(0x07, 0), op(0x00, 1), op(0x87, 0), ret]), 64);
        assert_eq!(run(&[op(0x00, 9), op(0x02, 15), op(0x00, 1), op(0x61, 15), op(0x03, 2), op(0x60, 2), ret]), 9);
        let jump = |code, k| sock_filter { code, jt: 0, jf: 1, k };
        for (code, k, expected) in [(0x15, 5, 1), (0x15, 6, 2), (0x25, 5, 2), (0x35, 5, 1), (0x45, 4, 1), (0x45, 2, 2)]
        {
            assert_eq!(run(&[op(0x20, 0), jump(code, k), op(RETURN, 1), op(RETURN, 2)]), expected, "{code:x} {k}");
        }
        assert_eq!(run(&[op(0x05, 1), op(RETURN, 1), op(RETURN, 2)]), 2);
        for broken in [&[][..], &[op(0x05, 9)], &[op(0xff, 0)], &[op(0x60, 99)]] {
            assert_eq!(run(broken), libc::SECCOMP_RET_ALLOW, "what is no program ends");
        }
    }

    #[test]
    fn only_calls_about_filters_stop() {
        let program = crate::own_filters::filter();
        for abi in [Abi::X86_64, Abi::I386] {
            let numbers = abi.numbers();
            for nr in 0..500u32 {
                for option in 0..80u32 {
                    let mut words = [0; 16];
                    (words[0], words[1], words[4]) = (nr, abi.audit_arch(), option);
                    let stops = i64::from(nr) == numbers.seccomp
                        || i64::from(nr) == numbers.prctl && [21, 22, 38, 39].contains(&option);
                    let expected = if stops { libc::SECCOMP_RET_TRACE } else { libc::SECCOMP_RET_ALLOW };
                    assert_eq!(verdict(&program, &Data(words)), expected, "{abi:?} {nr} {option}");
                }
            }
        }
        let mut words = [0; 16];
        (words[0], words[1]) = (317, 0xc000_00b7);
        assert_eq!(verdict(&program, &Data(words)), libc::SECCOMP_RET_ALLOW, "another machine");
    }

    #[test]
    fn the_strictest_verdict_counts_and_of_equal_ones_the_newest() {
        let says = |verdicts: &[u32]| {
            let programs: Vec<[sock_filter; 1]> = verdicts.iter().map(|&verdict| [op(RETURN, verdict)]).collect();
            strictest(programs.iter().map(|program| &program[..]), &data(1))
        };
        let (trace, errno) = (libc::SECCOMP_RET_TRACE, libc::SECCOMP_RET_ERRNO);
        assert_eq!(says(&[]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(says(&[trace | 1, trace | 2, libc::SECCOMP_RET_ALLOW]), trace | 2);
        assert_eq!(says(&[errno | 3, trace | 2]), errno | 3);
        assert_eq!(
            says(&[libc::SECCOMP_RET_KILL_PROCESS, libc::SECCOMP_RET_KILL_THREAD]),
            libc::SECCOMP_RET_KILL_PROCESS
        );
        assert!(may_trace(&[op(RETURN, trace | 5)]) && may_trace(&[op(RETURN_ACCUMULATOR, 0)]));
        assert!(!may_trace(&[op(RETURN, errno), op(0x00, trace)]));
    }
}
