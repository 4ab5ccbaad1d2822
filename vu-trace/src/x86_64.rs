//! What depends on the architecture: registers, system call conventions, and the race-free wait.
//!
//! One file like this one is all that another architecture needs.

use crate::ptrace::Tid;

/// How a system call was entered: it decides numbers, argument registers and the width of pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Abi {
    /// `syscall` from 64-bit code.
    X86_64,
    /// `int 0x80` or the 32-bit vDSO.
    I386,
}

/// `AUDIT_ARCH_*` (`include/uapi/linux/audit.h`).
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

impl Abi {
    /// From `seccomp_data.arch`; `None` for what the machine cannot run.
    #[must_use]
    pub fn from_audit_arch(arch: u32) -> Option<Abi> {
        match arch {
            AUDIT_ARCH_X86_64 => Some(Abi::X86_64),
            AUDIT_ARCH_I386 => Some(Abi::I386),
            _ => None,
        }
    }

    pub(crate) fn audit_arch(self) -> u32 {
        match self {
            Abi::X86_64 => AUDIT_ARCH_X86_64,
            Abi::I386 => AUDIT_ARCH_I386,
        }
    }

    /// The size of a pointer, in bytes.
    #[must_use]
    pub fn pointer_size(self) -> usize {
        match self {
            Abi::X86_64 => 8,
            Abi::I386 => 4,
        }
    }

    /// The length of the instruction that enters the kernel: `syscall` and `int 0x80` both have two bytes. (The 32-bit
    /// vDSO's `sysenter` returns behind an `int 0x80`, so going back two bytes is right there, too.)
    pub(crate) const ENTRY_LENGTH: u64 = 2;

    /// That instruction.
    pub(crate) fn entry_instruction(self) -> [u8; 2] {
        match self {
            Abi::X86_64 => [0x0f, 0x05],
            Abi::I386 => [0xcd, 0x80],
        }
    }

    pub(crate) fn numbers(self) -> &'static Numbers {
        match self {
            Abi::X86_64 => &Numbers {
                seccomp: libc::SYS_seccomp,
                mmap: libc::SYS_mmap,
                close: libc::SYS_close,
                chdir: libc::SYS_chdir,
                prctl: libc::SYS_prctl,
                clone: libc::SYS_clone,
                clone3: libc::SYS_clone3,
                fork: libc::SYS_fork,
                vfork: libc::SYS_vfork,
                execve: libc::SYS_execve,
                execveat: libc::SYS_execveat,
                restart_syscall: libc::SYS_restart_syscall,
            },
            // arch/x86/entry/syscalls/syscall_32.tbl; mmap is mmap2.
            Abi::I386 => &Numbers {
                seccomp: 354,
                mmap: 192,
                close: 6,
                chdir: 12,
                prctl: 172,
                clone: 120,
                clone3: 435,
                fork: 2,
                vfork: 190,
                execve: 11,
                execveat: 358,
                restart_syscall: 0,
            },
        }
    }
}

/// The numbers of the calls that the tracer itself makes in a tracee, or looks for.
pub(crate) struct Numbers {
    pub seccomp: i64,
    pub mmap: i64,
    pub close: i64,
    pub chdir: i64,
    pub prctl: i64,
    pub clone: i64,
    pub clone3: i64,
    pub fork: i64,
    pub vfork: i64,
    pub execve: i64,
    pub execveat: i64,
    pub restart_syscall: i64,
}

impl Numbers {
    pub(crate) fn executes(&self, nr: i64) -> bool {
        [self.execve, self.execveat].contains(&nr)
    }
}

/// The code segment of 32-bit code (`__USER32_CS`).
const USER32_CS: u64 = 0x23;

/// The general registers of a stopped tracee.
#[derive(Clone, Copy)]
pub struct Registers(pub(crate) libc::user_regs_struct);

impl Registers {
    /// How the tracee would enter, or has entered, the kernel: by its code segment. `int 0x80` from 64-bit code looks like
    /// [`Abi::X86_64`] here; who knows better ([`Abi::from_audit_arch`]) says so.
    #[must_use]
    pub fn abi(&self) -> Abi {
        if self.0.cs == USER32_CS { Abi::I386 } else { Abi::X86_64 }
    }

    /// The number of the system call the tracee is in, or has just left. The kernel looks at the lower half only, and 32-bit entries leave the
    /// upper one clear, so that their −1 is no negative number of 64 bits.
    #[must_use]
    pub fn syscall(&self) -> i64 {
        let [a, b, c, d, ..] = self.0.orig_rax.to_le_bytes();
        i64::from(i32::from_le_bytes([a, b, c, d]))
    }

    /// Whether it is in a system call, or has just left one (`syscall_get_nr(…) != -1` of `arch_do_signal_or_restart`).
    pub(crate) fn in_syscall(&self) -> bool {
        self.syscall() != -1
    }

    pub(crate) fn set_syscall(&mut self, nr: i64) {
        self.0.orig_rax = nr.cast_unsigned();
    }

    /// What the call returned.
    #[must_use]
    pub fn result(&self) -> i64 {
        self.0.rax.cast_signed()
    }

    pub(crate) fn set_result(&mut self, result: i64) {
        self.0.rax = result.cast_unsigned();
    }

    pub(crate) fn instruction(&self) -> u64 {
        self.0.rip
    }

    pub(crate) fn set_instruction(&mut self, address: u64) {
        self.0.rip = address;
    }

    /// The six arguments.
    #[must_use]
    pub fn args(&self, abi: Abi) -> [u64; 6] {
        let r = &self.0;
        match abi {
            Abi::X86_64 => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
            Abi::I386 => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp].map(|v| v & 0xffff_ffff),
        }
    }

    pub(crate) fn set_args(&mut self, abi: Abi, args: [u64; 6]) {
        let r = &mut self.0;
        match abi {
            Abi::X86_64 => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = args,
            Abi::I386 => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp] = args.map(|v| v & 0xffff_ffff),
        }
    }

    pub(crate) fn stack(&self) -> u64 {
        self.0.rsp
    }

    /// Makes the registers those of a tracee that is about to execute the entry instruction at `address`.
    pub(crate) fn enter(&mut self, address: u64, nr: i64) {
        self.set_instruction(address);
        self.set_result(nr);
        // Not in a system call: the kernel must not apply its restart rules to the result (arch/x86/kernel/signal.c).
        self.set_syscall(-1);
    }

    /// Whether these are registers that [`reissue`](Self::reissue) made of `own`: the call is about to be made again, and nothing else has happened.
    pub(crate) fn is_reissue_of(&self, own: &Registers) -> bool {
        let mut again = *own;
        again.reissue();
        !self.in_syscall() && self.0.rip == again.0.rip && self.0.rax == again.0.rax && self.0.rsp == own.0.rsp
    }

    /// Whether this is the entry to the call that [`reissue`](Self::reissue) prepared with the registers `own`.
    pub(crate) fn enters(&self, own: &Registers, abi: Abi) -> bool {
        self.0.rip == own.0.rip.wrapping_add(Abi::ENTRY_LENGTH)
            && self.0.orig_rax == own.0.rax
            && self.args(abi) == own.args(abi)
            && self.0.rsp == own.0.rsp
    }

    /// Makes a call that was just left, with whatever result, be made again.
    pub(crate) fn reissue(&mut self) {
        let nr = self.syscall();
        self.enter(self.instruction().wrapping_sub(Abi::ENTRY_LENGTH), nr);
    }
}

// wait4(-1, status, options, NULL) unless *flag is set. A signal that arrives anywhere between the look at the flag and the
// system call must not be lost, so its handler moves the instruction pointer out of that window (see `doorbell`): the
// restartable sequence of thread cancellation in libc implementations.
core::arch::global_asm!(
    ".globl vu_trace_wait",
    ".type vu_trace_wait, @function",
    "vu_trace_wait:",
    "mov r8, rdi",
    "mov rdi, -1",
    "xor r10d, r10d",
    ".globl vu_trace_wait_begin",
    "vu_trace_wait_begin:",
    "cmp dword ptr [r8], 0",
    "jne vu_trace_wait_rung",
    "mov eax, 61",
    "syscall",
    ".globl vu_trace_wait_end",
    "vu_trace_wait_end:",
    "ret",
    ".globl vu_trace_wait_rung",
    "vu_trace_wait_rung:",
    "mov rax, -4",
    "ret",
    ".size vu_trace_wait, . - vu_trace_wait",
);

unsafe extern "C" {
    fn vu_trace_wait(flag: *const u32, status: *mut i32, options: i32) -> i64;
    static vu_trace_wait_begin: u8;
    static vu_trace_wait_end: u8;
    static vu_trace_wait_rung: u8;
}

/// What a wait came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// A tracee changed its state.
    Status(Tid, i32),
    /// The flag was set, or a signal came.
    Rung,
    /// There is nothing to wait for.
    NoTracees,
}

/// Waits for any tracee or child of this thread, unless and until `flag` is set and the doorbell's signal arrives.
pub(crate) fn wait_any(flag: &std::sync::atomic::AtomicU32) -> Waited {
    let mut status = 0;
    // SAFETY: the assembly reads the flag, and the kernel writes one int to `status`; both live through the call.
    let result = unsafe { vu_trace_wait(flag.as_ptr(), &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    match i32::try_from(result) {
        Ok(tid) if tid > 0 => Waited::Status(Tid(tid), status),
        Ok(error) if error == -libc::ECHILD => Waited::NoTracees,
        _ => Waited::Rung,
    }
}

/// The doorbell's signal handler: if the interrupted code stands before the `syscall` of [`wait_any`], it leaves that window.
pub(crate) extern "C" fn leave_wait(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel hands a handler installed with SA_SIGINFO a valid ucontext; only its register copy is changed, and
    // the three symbols are addresses of code, never read.
    unsafe {
        let rip = &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize];
        let at = (*rip).cast_unsigned();
        let begin = (&raw const vu_trace_wait_begin) as u64;
        let end = (&raw const vu_trace_wait_end) as u64;
        if begin <= at && at < end {
            *rip = ((&raw const vu_trace_wait_rung) as u64).cast_signed();
        }
    }
}
