//! The code page.
//!
//! It is assembled into the hypervisor and copied from there; everything in it is relative to its own place. Behind it lies the [`Board`](crate::Board).
//!
//! Each place of the C library that made a path call jumps to a *stub* of its own at the end of the page, which sets `eax` to the number, `rcx` to the address of
//! the place's `syscall` instruction and `r11d` to the [kind](Kind) of the call, and goes to the entry. (A system call destroys `rcx` and
//! `r11` anyway.) From there, there are two ways back: to that instruction with all registers as they were, which makes the call as if nothing had been there; or behind it
//! with the result.

use std::arch::global_asm;

/// The size of the page.
pub const SIZE: usize = 4096;

/// Where the signature stands, by which the tracer knows the page.
pub const SIGNATURE: usize = 0;
/// How long that is.
pub const SIGNATURE_SIZE: usize = 16;

/// What a call's arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(u32);

impl Kind {
    /// A directory's descriptor stands before the path.
    pub const AT: Kind = Kind(1);
    /// A symbolic link at the end is followed.
    pub const FOLLOWS: Kind = Kind(2);
    /// It is, unless `AT_SYMLINK_NOFOLLOW` is in the fourth argument.
    pub const FLAGS_FOURTH: Kind = Kind(4);
    /// Unless it is in the third.
    pub const FLAGS_THIRD: Kind = Kind(8);
    /// It reads a symbolic link: those of `/proc` read otherwise in the view.
    pub const LINK: Kind = Kind(16);
    /// It opens, with the flags in the third argument.
    pub const OPEN: Kind = Kind(32);
    /// It asks for permissions, with the mode in the argument behind the path.
    pub const ACCESS: Kind = Kind(2048);
    /// It asks for what a mount may say otherwise, whatever the arguments are.
    pub const MOUNT: Kind = Kind(4096);
    /// It asks a descriptor, the first argument.
    pub const DESCRIPTOR: Kind = Kind(128);
    /// It executes a program.
    pub const EXEC: Kind = Kind(64);
    /// The path is all there is, and a link at the end is not followed.
    pub const PLAIN: Kind = Kind(0);

    const fn and(self, other: Kind) -> Kind {
        Kind(self.0 | other.0)
    }

    /// The kind of a system call; `None` for those that are none of the agent's business. None of them waits, makes anything or changes anything, but for the process itself that
    /// executes a program: of opens, only those for reading of files and directories are made.
    #[must_use]
    pub fn of(nr: i64) -> Option<Kind> {
        Some(match nr {
            libc::SYS_stat | libc::SYS_getxattr | libc::SYS_listxattr => Kind::FOLLOWS,
            libc::SYS_access => Kind::FOLLOWS.and(Kind::ACCESS),
            libc::SYS_statfs => Kind::FOLLOWS.and(Kind::MOUNT),
            libc::SYS_lstat | libc::SYS_lgetxattr | libc::SYS_llistxattr => Kind::PLAIN,
            libc::SYS_readlink => Kind::LINK,
            libc::SYS_readlinkat => Kind::AT.and(Kind::LINK),
            libc::SYS_newfstatat => Kind::AT.and(Kind::FLAGS_FOURTH),
            libc::SYS_faccessat2 => Kind::AT.and(Kind::FLAGS_FOURTH).and(Kind::ACCESS),
            libc::SYS_faccessat => Kind::AT.and(Kind::FOLLOWS).and(Kind::ACCESS),
            libc::SYS_statx => Kind::AT.and(Kind::FLAGS_THIRD),
            libc::SYS_openat => Kind::AT.and(Kind::FOLLOWS).and(Kind::OPEN),
            libc::SYS_fstat | libc::SYS_getdents64 => Kind::DESCRIPTOR,
            libc::SYS_execve => Kind::EXEC,
            _ => return None,
        })
    }

    /// As the stub passes it.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

/// Where the room in the frame ends in which paths are put together.
const PATH_END: usize = 264 + 504;

// Register use from `body` on: rbx the path, r12 the directory's descriptor, r13d the kind, r14d whether a link at the end is followed, rbp the board.
// The frame: a struct stat (144 bytes), the registers, the number, the place of the call, the seed (at 256), a path of a bind or a struct statx (504 bytes at 264), where the seed stands (at 768), that bind (at 776), and
// the hash of the directory and where it begins (at 784). 128 bytes above it are the red zone.
// Bits of the kind from there on: 0x100, it lies where the view's names are the host's; 0x200, the descriptor has no tag; 0x400, it is asked itself; 0x2000, what is opened may be lent; 0x4000, the path begins at a working directory that is what it seems to be;
// 0x8000, it begins at a descriptor.
// r15 is the tag of a descriptor, and then the one that an open file is given.
global_asm!(
    ".pushsection .rodata.vu_agent, \"a\", @progbits",
    ".p2align 4",
    // Another unit of code generation may be the one that refers to them.
    ".hidden vu_agent_code",
    ".globl vu_agent_code",
    ".hidden vu_agent_entry",
    ".globl vu_agent_entry",
    ".hidden vu_agent_body",
    ".globl vu_agent_body",
    ".hidden vu_agent_off_switch",
    ".globl vu_agent_off_switch",
    ".hidden vu_agent_native",
    ".globl vu_agent_native",
    ".hidden vu_agent_slow",
    ".globl vu_agent_slow",
    ".hidden vu_agent_end",
    ".globl vu_agent_end",
    // The key of a hash and of where it begins (rdi), in rax. r9 is the multiplier.
    ".macro vu_agent_key hash",
    "mov rax, \\hash",
    "xor rax, rdi",
    "imul rax, r9",
    "or rax, 1",
    ".endm",
    // Whether such a key is published: "equal". The other register is used up.
    ".macro vu_agent_look hash, place",
    "vu_agent_key \\hash",
    "mov \\place, rax",
    "shr \\place, {shift}",
    "cmp [rbp + \\place * 8 + {keys}], rax",
    "je 99f",
    "xor \\place, 1",
    "cmp [rbp + \\place * 8 + {keys}], rax",
    "99:",
    ".endm",
    "vu_agent_code:",
    ".skip 16",
    "vu_agent_entry:",
    "lea rsp, [rsp - 128 - 800]",
    "mov [rsp + 144], rdi",
    "mov [rsp + 152], rsi",
    "mov [rsp + 160], rdx",
    "mov [rsp + 168], r10",
    "mov [rsp + 176], r8",
    "mov [rsp + 184], r9",
    "mov [rsp + 192], rbx",
    "mov [rsp + 200], rbp",
    "mov [rsp + 208], r12",
    "mov [rsp + 216], r13",
    "mov [rsp + 224], r14",
    "mov [rsp + 232], r15",
    "mov [rsp + 240], rax",
    "mov [rsp + 248], rcx",
    "vu_agent_body:",
    // Whether this process is to have it at all; the displacement is the image's.
    ".byte 0x80, 0x3d",
    "vu_agent_off_switch:",
    ".long 0",
    ".byte 0",
    "jne vu_agent_slow",
    "lea rbp, [rip + vu_agent_code + {size}]",
    "cmp qword ptr [rbp + {enabled}], 0",
    "je vu_agent_slow",
    "mov r13d, r11d",
    "mov rbx, rdi",
    "test r13d, 128",
    "jnz vu_agent_descriptor",
    "mov r12, -100",
    "test r13d, 1",
    "jz 2f",
    "mov rbx, rsi",
    "movsxd r12, edi",
    "2:",
    "mov qword ptr [rsp + 776], 0",
    "test r13d, 32",
    "jz 10f",
    // For reading, with O_CLOEXEC, O_NOFOLLOW, O_DIRECTORY, O_LARGEFILE, O_NONBLOCK and O_NOCTTY at most.
    "test edx, ~(0x80000 | 0x20000 | 0x10000 | 0x8000 | 0x800 | 0x100)",
    "jnz vu_agent_slow",
    // Where there are several threads, an open is a point of cancellation (pthreads(7)), from where the stack is unwound.
    "cmp dword ptr fs:[0x18], 0",
    "jne vu_agent_slow",
    "10:",
    "test r13d, 2048 | 4096",
    "jz 11f",
    "test byte ptr [rbp + {doubts}], {doubt_access}",
    "jz 11f",
    "test r13d, 4096",
    "jnz vu_agent_slow",
    // W_OK, X_OK: a mount may forbid it, or take what is written elsewhere.
    "mov eax, esi",
    "test r13d, 1",
    "cmovnz eax, edx",
    "test eax, 3",
    "jnz vu_agent_slow",
    "11:",
    "mov r14d, r13d",
    "and r14d, 2",
    "test r13d, 4 | 8",
    "jz 4f",
    "mov eax, r10d",
    "test r13d, 8",
    "jz 3f",
    "mov eax, edx",
    // statx(2) is asked for the mount, which may be one of the view's: STATX_MNT_ID, STATX_MNT_ID_UNIQUE
    "test r10d, 0x1000 | 0x4000",
    "jnz vu_agent_slow",
    "3:",
    // AT_SYMLINK_NOFOLLOW, AT_EACCESS, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE
    "test eax, ~(0x100 | 0x200 | 0x800 | 0x6000)",
    "jnz vu_agent_of_descriptor",
    "test eax, 0x100",
    "jnz 4f",
    "mov r14d, 2",
    "4:",
    // Two hashes over the path: rdi of all before the last slash (r10), rdx of the last name. r8 is where that begins.
    "lea rax, [rbp + {seed}]",
    "lea rdi, [rbp + {exec_seed}]",
    "test r13d, 64",
    "cmovnz rax, rdi",
    "mov [rsp + 768], rax",
    "mov rdi, [rax]",
    "mov [rsp + 256], rdi",
    "movabs r9, {prime}",
    "movabs r11, {basis}",
    "xor r8d, r8d",
    "mov rsi, rbx",
    "mov rdx, r11",
    "lea r15, [rbx + 1024]",
    "5:",
    "movzx eax, byte ptr [rsi]",
    "inc rsi",
    "cmp al, 0x2f",
    "je 6f",
    "test al, al",
    "jz 7f",
    "xor rdi, rax",
    "imul rdi, r9",
    "xor rdx, rax",
    "imul rdx, r9",
    "cmp rsi, r15",
    "jb 5b",
    "jmp vu_agent_slow",
    "6:",
    "mov r10, rdi",
    "mov r8, rsi",
    "xor rdi, rax",
    "imul rdi, r9",
    "mov rdx, r11",
    "cmp rsi, r15",
    "jb 5b",
    "jmp vu_agent_slow",
    "7:",
    // A last name that is none ("", ".", "..") is another matter.
    "mov rax, r8",
    "test rax, rax",
    "cmovz rax, rbx",
    "dec rsi",
    "sub rsi, rax",
    "jz 13f",
    "cmp rsi, 2",
    "ja 8f",
    "cmp byte ptr [rax], 0x2e",
    "jne 8f",
    "cmp rsi, 1",
    "je vu_agent_slow",
    "cmp byte ptr [rax + 1], 0x2e",
    "je vu_agent_slow",
    "jmp 8f",
    // But a directory may be opened by a slash behind its name: what is known of names in it is known of itself.
    "13:",
    "test r13d, 32",
    "jz vu_agent_slow",
    "test r8, r8",
    "jz vu_agent_slow",
    "8:",
    // Perhaps the name of a mount point.
    "mov rsi, rdx",
    "shr rsi, 48",
    "bt qword ptr [rbp + {names}], rsi",
    "jnc 9f",
    "shr rdx, 32",
    "movzx edx, dx",
    "bt qword ptr [rbp + {names}], rdx",
    "jc vu_agent_slow",
    "9:",
    "test r13d, 64",
    "jz 11f",
    // A program: what counts is the whole path.
    "cmp byte ptr [rbx], 0x2f",
    "jne vu_agent_slow",
    "mov r10, rdi",
    "mov edi, {programs}",
    "jmp 21f",
    "11:",
    "test r8, r8",
    "jz vu_agent_one_name",
    "cmp byte ptr [rbx], 0x2f",
    "je 20f",
    "cmp r12d, -100",
    "jne vu_agent_slow",
    // Which directory the path begins at: the kernel knows.
    "19:",
    "mov r15, r10",
    "mov rdi, -100",
    "lea rsi, [rip + vu_agent_dot]",
    "mov rdx, rsp",
    "xor r10d, r10d",
    "mov r9, [rbp + {cookie}]",
    "mov eax, {newfstatat}",
    "syscall",
    "test rax, rax",
    "jnz vu_agent_slow",
    "movabs r9, {prime}",
    "mov rdi, [rsp]",
    "imul rdi, r9",
    "xor rdi, [rsp + 8]",
    "imul rdi, r9",
    "mov r10, r15",
    "jmp 21f",
    "vu_agent_one_name:",
    "mov r10, [rsp + 256]",
    "cmp r12d, -100",
    "je 19b",
    // Below a descriptor nothing but the name counts. Links of /proc are the hypervisor's to read.
    "test r13d, 16",
    "jnz vu_agent_slow",
    // Numbers are descriptors and processes in /proc.
    "movzx eax, byte ptr [rbx]",
    "sub eax, 0x30",
    "cmp eax, 9",
    "jbe vu_agent_slow",
    "or r13d, 0x8000",
    "test byte ptr [rbp + {doubts}], {doubt_descriptors}",
    "jz vu_agent_known",
    "jmp vu_agent_behind",
    "20:",
    "xor edi, edi",
    "21:",
    "mov [rsp + 784], r10",
    "mov [rsp + 792], rdi",
    "vu_agent_look r10, rdx",
    "je 22f",
    "test r13d, 64",
    "jnz 29f",
    "test rdi, rdi",
    "jz 29f",
    "test byte ptr [rbp + {doubts}], {doubt_descriptors}",
    "jz vu_agent_slow",
    // A working directory may stand for one of the host.
    "inc rdi",
    "mov [rsp + 792], rdi",
    "vu_agent_look r10, rdx",
    "jne vu_agent_slow",
    "vu_agent_key [rsp + 256]",
    "mov r8, rax",
    "shr r8, {stand_shift}",
    "imul r8, r8, {stand_size}",
    "lea r8, [rbp + r8 + {stands}]",
    "cmp [r8], rax",
    "je 24f",
    "xor r8, {stand_size}",
    "cmp [r8], rax",
    "jne vu_agent_slow",
    "24:",
    // Its name, a slash, and the path.
    "mov ecx, [r8 + {stand_length}]",
    "lea rsi, [r8 + {stand_name}]",
    "lea rdi, [rsp + 264]",
    "rep movsb",
    "cmp [r8], rax",
    "jne vu_agent_slow",
    "mov byte ptr [rdi], 0x2f",
    "inc rdi",
    "mov rdx, rbx",
    "lea rcx, [rsp + {path_end}]",
    "jmp 35f",
    // Where it is the host's own name, a directory may be opened, too, if it is what it seems to be.
    "22:",
    "test rdi, rdi",
    "jnz 23f",
    "test byte ptr [rbp + {doubts}], {doubt_descriptors}",
    "jnz vu_agent_known",
    "or r13d, 0x100",
    "jmp vu_agent_known",
    // By which name a working directory is known is the hypervisor's to say.
    "23:",
    "or r13d, 0x4000",
    "jmp vu_agent_known",
    "29:",
    // An absolute path may lie in a bind, and has another name on the host then.
    "lea r8, [rbp + {binds}]",
    "mov r15d, [rbp + {bind_count}]",
    "30:",
    "dec r15d",
    "js vu_agent_slow",
    "inc rdi",
    "mov ecx, [r8]",
    "lea rsi, [r8 + 8]",
    "mov rdx, rbx",
    "31:",
    "movzx eax, byte ptr [rsi]",
    "cmp al, [rdx]",
    "jne 33f",
    "inc rsi",
    "inc rdx",
    "dec ecx",
    "jnz 31b",
    "cmp byte ptr [rdx], 0x2f",
    "jne 33f",
    "vu_agent_look r10, rsi",
    "je 34f",
    "33:",
    "add r8, {bind_size}",
    "jmp 30b",
    "34:",
    "mov [rsp + 776], r8",
    "mov rbx, rdx",
    "lea rsi, [r8 + {bind_exec}]",
    "mov ecx, [r8 + {bind_exec_length}]",
    "test r13d, 64",
    "jnz 12f",
    "mov ecx, [r8 + 4]",
    "test ecx, ecx",
    "jz vu_agent_known",
    "lea rsi, [r8 + {bind_source}]",
    "12:",
    "lea rdi, [rsp + 264]",
    "rep movsb",
    "lea rcx, [rsp + {path_end}]",
    "35:",
    "movzx eax, byte ptr [rdx]",
    "mov [rdi], al",
    "inc rdx",
    "inc rdi",
    "test al, al",
    "jz 36f",
    "cmp rdi, rcx",
    "jb 35b",
    "jmp vu_agent_slow",
    "36:",
    "lea rbx, [rsp + 264]",
    "vu_agent_known:",
    // What was read is of one state of the board.
    "mov rax, [rsp + 256]",
    "mov rdx, [rsp + 768]",
    "cmp [rdx], rax",
    "jne vu_agent_slow",
    "test r14d, r14d",
    "jz vu_agent_native",
    "mov rdi, r12",
    "mov rsi, rbx",
    "mov rdx, rsp",
    "mov r10d, 0x100",
    "mov r9, [rbp + {cookie}]",
    "mov eax, {newfstatat}",
    "syscall",
    "cmp rax, -2",
    "je 39f",
    "test rax, rax",
    "jnz vu_agent_slow",
    "mov eax, [rsp + 24]",
    "and eax, 0xf000",
    "cmp eax, 0xa000",
    "je vu_agent_slow",
    "test r13d, 32",
    "jz vu_agent_native",
    // An empty file may be one of /proc, and another one in the view.
    "cmp eax, 0x8000",
    "jne 38f",
    "cmp qword ptr [rsp + 48], 0",
    "je vu_agent_slow",
    "xor r15d, r15d",
    "mov rax, [rsp + 776]",
    "test rax, rax",
    "jz vu_agent_native",
    "37:",
    "mov r15d, [rax + {bind_tag}]",
    "test r15d, r15d",
    "jz vu_agent_slow",
    "jmp vu_agent_native",
    // A directory's description is to have the tag of a route wherever names are not the host's. In a bind, that is the bind's; of what is in another directory, that one's.
    "38:",
    "cmp eax, 0x4000",
    "jne vu_agent_slow",
    "test byte ptr [rbp + {doubts}], {doubt_descriptors}",
    "jnz 56f",
    "test r13d, 0x8000",
    "jnz 55f",
    "mov rax, [rsp + 776]",
    "test rax, rax",
    "jnz 37b",
    "xor r15d, r15d",
    "test r13d, 0x100",
    "jnz vu_agent_native",
    "jmp vu_agent_slow",
    "55:",
    "mov rdi, r12",
    "mov esi, 11",
    "xor edx, edx",
    "mov r9, [rbp + {cookie}]",
    "mov eax, {fcntl}",
    "syscall",
    "test rax, rax",
    "js vu_agent_slow",
    "mov r15, rax",
    "jmp vu_agent_native",
    // With doubts, what is opened must lie in the mount of the host that the tag says, too: that is looked at when it is open.
    "56:",
    "test r13d, 0x4000",
    "jnz vu_agent_slow",
    "cmp qword ptr [rsp + 776], 0",
    "jne vu_agent_slow",
    "test r13d, 0x8000",
    "jz 57f",
    "test r15, r15",
    "jz vu_agent_slow",
    "57:",
    "or r13d, 0x2000",
    "jmp vu_agent_native",
    "39:",
    "test r13d, 0x200",
    "jnz vu_agent_slow",
    "jmp vu_agent_done",
    "vu_agent_of_descriptor:",
    // AT_EMPTY_PATH: a descriptor's own object.
    "cmp eax, 0x1000",
    "jne vu_agent_slow",
    "cmp byte ptr [rbx], 0",
    "jne vu_agent_slow",
    "test r12d, r12d",
    "js vu_agent_slow",
    "test byte ptr [rbp + {doubts}], {doubt_descriptors}",
    "jz vu_agent_native",
    "jmp 48f",
    "vu_agent_descriptor:",
    "movsxd r12, edi",
    "test byte ptr [rbp + {doubts}], {doubt_descriptors}",
    "jz vu_agent_slow",
    // The descriptor's own object (bit 10), which is not followed anywhere.
    "48:",
    "or r13d, 0x400",
    "xor r14d, r14d",
    "lea rdx, [rbp + {seed}]",
    "mov [rsp + 768], rdx",
    "mov rax, [rdx]",
    "mov [rsp + 256], rax",
    // What is behind a descriptor: fcntl(fd, F_GETSIG) tells the tag of its description.
    "vu_agent_behind:",
    "mov rdi, r12",
    "mov esi, 11",
    "xor edx, edx",
    "mov r9, [rbp + {cookie}]",
    "mov eax, {fcntl}",
    "syscall",
    "test rax, rax",
    "js vu_agent_slow",
    "mov r15, rax",
    "jnz 50f",
    // Without one it is what it seems to be, or a placeholder (bit 9): a directory that was removed, in which nothing is found or listed (ENOENT).
    "or r13d, 0x200",
    "test r13d, 0x400",
    "jz vu_agent_known",
    "cmp dword ptr [rsp + 240], {getdents64}",
    "je vu_agent_known",
    "50:",
    "mov rdi, r12",
    "mov rsi, rsp",
    "mov r9, [rbp + {cookie}]",
    "mov eax, {fstat}",
    "syscall",
    "test rax, rax",
    "jnz vu_agent_slow",
    "test r15, r15",
    "jz 52f",
    // With one, it is one of those that are published.
    "movabs r9, {prime}",
    "mov rdi, [rsp]",
    "imul rdi, r9",
    "xor rdi, [rsp + 8]",
    "imul rdi, r9",
    "lea rdi, [rdi + r15 + 2]",
    "vu_agent_look [rsp + 256], rdx",
    "jne vu_agent_slow",
    "test r13d, 0x400",
    "jz vu_agent_known",
    "jmp 53f",
    // st_nlink
    "52:",
    "cmp qword ptr [rsp + 16], 0",
    "je vu_agent_slow",
    "53:",
    "mov rdi, [rsp + 152]",
    "cmp dword ptr [rsp + 240], {fstat}",
    "je 54f",
    "mov rdi, [rsp + 160]",
    "cmp dword ptr [rsp + 240], {newfstatat}",
    "je 54f",
    "cmp dword ptr [rsp + 240], {getdents64}",
    "je vu_agent_known",
    "cmp dword ptr [rsp + 240], {statx}",
    "je vu_agent_known",
    "jmp vu_agent_slow",
    // They have been told already.
    "54:",
    "mov rax, [rsp + 256]",
    "cmp [rbp + {seed}], rax",
    "jne vu_agent_slow",
    "mov rsi, rsp",
    "mov ecx, 18",
    "rep movsq",
    "xor eax, eax",
    "jmp vu_agent_done",
    "vu_agent_native:",
    "mov rdi, [rsp + 144]",
    "mov rsi, [rsp + 152]",
    "mov rdx, [rsp + 160]",
    "mov r10, [rsp + 168]",
    "mov r8, [rsp + 176]",
    "test r13d, 1",
    "cmovz rdi, rbx",
    "cmovnz rsi, rbx",
    "mov r9, [rbp + {cookie}]",
    "mov rax, [rsp + 240]",
    "syscall",
    // EACCES: who may search what lies above the source of a bind is not asked where the bind is; the hypervisor knows.
    "cmp rax, -13",
    "je vu_agent_slow",
    // Who is still here was not made another program: the hypervisor knows that, too.
    "test r13d, 64",
    "jnz vu_agent_slow",
    "cmp rax, -2",
    "je 39b",
    "test r13d, 32",
    "jz vu_agent_done",
    "test rax, rax",
    "js vu_agent_done",
    "mov [rsp], rax",
    "test r13d, 0x2000",
    "jz 70f",
    // In which of the host's mounts it lies: statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, …)
    "mov rdi, rax",
    "lea rsi, [rip + vu_agent_dot + 1]",
    "mov edx, 0x1000",
    "mov r10d, 0x1000",
    "lea r8, [rsp + 264]",
    "mov r9, [rbp + {cookie}]",
    "mov eax, {statx}",
    "syscall",
    "test rax, rax",
    "jnz 69f",
    "mov rsi, [rsp + 264 + 144]",
    "test r13d, 0x8000",
    "jz 62f",
    "mov rax, [rbp + r15 * 8 + {mounts}]",
    "cmp rax, rsi",
    "je 70f",
    "cmp rax, -1",
    "je 70f",
    "jmp 69f",
    // By a path, what is published of the directory says which tag that is.
    "62:",
    "movabs r9, {prime}",
    "mov r8, [rsp + 784]",
    "mov r15d, {tags}",
    "63:",
    "cmp [rbp + r15 * 8 + {mounts}], rsi",
    "jne 64f",
    "mov rdi, [rsp + 792]",
    "lea rdi, [rdi + r15 + {lent}]",
    "vu_agent_look r8, rdx",
    "je 70f",
    "64:",
    "dec r15d",
    "jnz 63b",
    "69:",
    "mov rdi, [rsp]",
    "mov eax, {close}",
    "syscall",
    "jmp vu_agent_slow",
    // By which route it was opened: fcntl(fd, F_SETSIG, tag).
    "70:",
    "test r15d, r15d",
    "jz 71f",
    "mov rdi, [rsp]",
    "mov esi, 10",
    "mov edx, r15d",
    "mov eax, {fcntl}",
    "syscall",
    "71:",
    "mov rax, [rsp]",
    "vu_agent_done:",
    "mov rcx, [rsp + 248]",
    "add rcx, 2",
    "jmp 40f",
    "vu_agent_slow:",
    "mov rax, [rsp + 240]",
    "mov rcx, [rsp + 248]",
    "40:",
    "mov rdi, [rsp + 144]",
    "mov rsi, [rsp + 152]",
    "mov rdx, [rsp + 160]",
    "mov r10, [rsp + 168]",
    "mov r8, [rsp + 176]",
    "mov r9, [rsp + 184]",
    "mov rbx, [rsp + 192]",
    "mov rbp, [rsp + 200]",
    "mov r12, [rsp + 208]",
    "mov r13, [rsp + 216]",
    "mov r14, [rsp + 224]",
    "mov r15, [rsp + 232]",
    "lea rsp, [rsp + 128 + 800]",
    "jmp rcx",
    "vu_agent_dot:",
    ".byte 0x2e, 0",
    "vu_agent_end:",
    ".popsection",
    size = const SIZE,
    enabled = const crate::board::layout::ENABLED,
    seed = const crate::board::layout::SEED,
    cookie = const crate::board::layout::COOKIE,
    bind_count = const crate::board::layout::BIND_COUNT,
    binds = const crate::board::layout::BINDS,
    bind_size = const crate::board::layout::BIND_SIZE,
    bind_tag = const crate::board::layout::BIND_TAG,
    bind_source = const crate::board::layout::BIND_SOURCE,
    doubts = const crate::board::layout::DOUBTS,
    doubt_descriptors = const crate::board::Doubts::DESCRIPTORS,
    doubt_access = const crate::board::Doubts::ACCESS,
    bind_exec = const crate::board::layout::BIND_EXEC,
    bind_exec_length = const crate::board::layout::BIND_EXEC_LENGTH,
    exec_seed = const crate::board::layout::EXEC_SEED,
    programs = const crate::board::PROGRAMS,
    names = const crate::board::layout::NAMES,
    mounts = const crate::board::layout::MOUNTS,
    tags = const crate::board::TAGS,
    lent = const crate::board::LENT,
    stands = const crate::board::layout::STANDS,
    stand_size = const crate::board::layout::STAND_SIZE,
    stand_length = const crate::board::layout::STAND_LENGTH,
    stand_name = const crate::board::layout::STAND_NAME,
    stand_shift = const crate::board::layout::STAND_SHIFT,
    keys = const crate::board::layout::KEYS,
    shift = const crate::board::layout::KEY_SHIFT,
    prime = const crate::board::PRIME,
    basis = const crate::board::NAME_BASIS,
    path_end = const PATH_END,
    newfstatat = const libc::SYS_newfstatat,
    fcntl = const libc::SYS_fcntl,
    fstat = const libc::SYS_fstat,
    statx = const libc::SYS_statx,
    close = const libc::SYS_close,
    getdents64 = const libc::SYS_getdents64,
);

// SAFETY: the labels above, all of the same section; only their addresses and the bytes between the first and the last are used.
unsafe extern "C" {
    static vu_agent_code: u8;
    static vu_agent_entry: u8;
    static vu_agent_body: u8;
    static vu_agent_off_switch: u8;
    static vu_agent_native: u8;
    static vu_agent_slow: u8;
    static vu_agent_end: u8;
}

/// Where a label lies in the page.
fn offset(label: *const u8) -> usize {
    label.addr() - (&raw const vu_agent_code).addr()
}

/// The code, without stubs.
#[must_use]
pub fn bytes() -> &'static [u8] {
    // SAFETY: the section holds these bytes from the first label to the last, and nobody writes there.
    unsafe { std::slice::from_raw_parts(&raw const vu_agent_code, offset(&raw const vu_agent_end)) }
}

/// Where stubs go to.
#[must_use]
pub fn entry() -> usize {
    offset(&raw const vu_agent_entry)
}

/// Where the 32-bit displacement of the process's switch stands, from the end of its instruction: one byte behind it.
#[must_use]
pub fn off_switch() -> usize {
    offset(&raw const vu_agent_off_switch)
}

/// Where a thread goes on whose path could not be read at this place of the page: to the call that it was about to make, as it would have made it. `None`: the fault
/// is none of the agent's.
#[must_use]
pub fn recover(at: usize) -> Option<usize> {
    let reads = offset(&raw const vu_agent_body)..offset(&raw const vu_agent_native);
    reads.contains(&at).then(|| offset(&raw const vu_agent_slow))
}
