//! The memory of a tracee.

use crate::ptrace::Tid;
use std::ops::ControlFlow;
use vu_api::{Errno, PATH_MAX};

/// An address in a tracee; it cannot be dereferenced here.
pub type Address = u64;

const PAGE: u64 = 4096;

/// Access to the memory of a tracee. Everything in it is the tracee's to choose: addresses, lengths and contents are
/// untrusted.
pub trait Memory {
    /// Reads as much as is mapped, up to the length of the buffer; returns how much.
    ///
    /// # Errors
    /// `EFAULT` if not even the first byte is readable; `ESRCH` if the tracee is gone.
    fn read_some(&self, address: Address, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `EFAULT` if a part is not writable (a beginning may have been written); `ESRCH`.
    fn write(&self, address: Address, bytes: &[u8]) -> Result<(), Errno>;

    /// Reads exactly the buffer's length.
    ///
    /// # Errors
    /// `EFAULT`, `ESRCH`.
    fn read(&self, address: Address, buffer: &mut [u8]) -> Result<(), Errno> {
        if buffer.is_empty() || self.read_some(address, buffer)? == buffer.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Reads several pieces, each as far as it goes; none that is not there.
    fn read_pieces<const N: usize>(&self, pieces: [(Address, &mut [u8]); N]) -> [usize; N]
    where
        Self: Sized,
    {
        pieces.map(|(address, buffer)| self.read_some(address, buffer).unwrap_or(0))
    }

    /// Reads a little-endian number of 8 bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_u64(&self, address: Address) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a little-endian number of 4 bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_u32(&self, address: Address) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a pointer of `width` bytes: 4, or 8.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_pointer(&self, address: Address, width: usize) -> Result<Address, Errno> {
        if width == 4 { self.read_u32(address).map(u64::from) } else { self.read_u64(address) }
    }

    /// Reads a C string of fewer than `limit` bytes, its NUL not counted and not returned.
    ///
    /// # Errors
    /// `ENAMETOOLONG` if no NUL is found in `limit` bytes, `EFAULT` if unmapped memory comes before the NUL.
    fn read_string(&self, address: Address, limit: usize) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        // Most strings are short: a first read of what fits on the stack, never past the end of a page,
        // since the next one may be unmapped.
        let mut buffer = [0u8; 1024];
        let mut at = address;
        while string.len() < limit {
            let to_page_end = usize::try_from(PAGE - at % PAGE).unwrap_or(buffer.len());
            let want = to_page_end.min(buffer.len()).min(limit - string.len());
            let got = self.read_some(at, &mut buffer[..want])?;
            match buffer[..got].iter().position(|&b| b == 0) {
                Some(end) => {
                    string.extend_from_slice(&buffer[..end]);
                    return Ok(string);
                }
                None => string.extend_from_slice(&buffer[..got]),
            }
            at = at.checked_add(got as u64).ok_or(Errno::EFAULT)?;
        }
        Err(Errno::ENAMETOOLONG)
    }

    /// Reads the path argument of a system call (`getname`, `fs/namei.c`).
    ///
    /// # Errors
    /// `ENAMETOOLONG` from 4096 bytes on, the NUL included; `EFAULT`.
    fn read_path(&self, address: Address) -> Result<Vec<u8>, Errno> {
        self.read_string(address, PATH_MAX)
    }

    /// Visits the pointers of a NULL-terminated vector (`argv`), each of `width` bytes, until `visit` breaks.
    ///
    /// # Errors
    /// `EFAULT`, `E2BIG` after 2²⁰ entries.
    fn for_each_pointer(
        &self,
        address: Address,
        width: usize,
        mut visit: impl FnMut(Address) -> Result<ControlFlow<()>, Errno>,
    ) -> Result<(), Errno>
    where
        Self: Sized,
    {
        const MOST: usize = 1 << 20;
        // As with strings: what lies on the same page is read together.
        let mut buffer = [0u8; 512];
        let (mut at, mut seen) = (address, 0);
        while seen < MOST {
            let to_page_end = usize::try_from(PAGE - at % PAGE).unwrap_or(buffer.len());
            let want = to_page_end.min(buffer.len()).max(width);
            let got = self.read_some(at, &mut buffer[..want])?;
            let pointers = buffer[..got].chunks_exact(width);
            let count = pointers.len();
            if count == 0 {
                return Err(Errno::EFAULT);
            }
            for bytes in pointers {
                let pointer = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
                if pointer == 0 || visit(pointer)?.is_break() {
                    return Ok(());
                }
            }
            seen += count;
            at = at.wrapping_add((count * width) as u64);
        }
        Err(Errno::E2BIG)
    }
}

/// The memory of a thread of a process, by process_vm_readv(2).
#[derive(Debug, Clone, Copy)]
pub struct ProcessMemory(pub Tid);

impl Memory for ProcessMemory {
    fn read_some(&self, address: Address, buffer: &mut [u8]) -> Result<usize, Errno> {
        let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
        // SAFETY: `local` describes the buffer, which is ours and writable; `remote` is looked up in the other process only.
        let got = unsafe { libc::process_vm_readv(self.0.0, &raw const local, 1, &raw const remote, 1, 0) };
        match usize::try_from(got) {
            Ok(0) if !buffer.is_empty() => Err(Errno::EFAULT),
            Ok(got) => Ok(got),
            Err(_) => Err(Errno::last()),
        }
    }

    fn read_pieces<const N: usize>(&self, mut pieces: [(Address, &mut [u8]); N]) -> [usize; N] {
        let local = pieces
            .each_mut()
            .map(|(_, buffer)| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() });
        let remote = pieces
            .each_ref()
            .map(|(address, buffer)| libc::iovec { iov_base: *address as *mut libc::c_void, iov_len: buffer.len() });
        // SAFETY: as above; the local buffers do not overlap, being borrowed apart.
        let got = unsafe { libc::process_vm_readv(self.0.0, local.as_ptr(), N as u64, remote.as_ptr(), N as u64, 0) };
        let wanted: usize = pieces.iter().map(|(_, buffer)| buffer.len()).sum();
        if usize::try_from(got) == Ok(wanted) {
            return pieces.map(|(_, buffer)| buffer.len());
        }
        // It ended at the first that is not there as a whole.
        pieces.map(|(address, buffer)| self.read_some(address, buffer).unwrap_or(0))
    }

    fn write(&self, address: Address, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
        // SAFETY: `local` describes `bytes`, which the kernel only reads; `remote` lies in the other process.
        let put = unsafe { libc::process_vm_writev(self.0.0, &raw const local, 1, &raw const remote, 1, 0) };
        match usize::try_from(put) {
            Ok(put) if put == bytes.len() => Ok(()),
            Ok(_) => Err(Errno::EFAULT),
            Err(_) => Err(Errno::last()),
        }
    }
}

/// Whether the memory of a thread's process may not be read, although there is something at this address: of its instructions.
pub(crate) fn unreadable(tid: Tid, instruction: Address) -> bool {
    ProcessMemory(tid).read(instruction, &mut [0]) == Err(Errno::EPERM)
}

/// A test double: one mapping of bytes at an address.
#[derive(Debug)]
pub struct FakeMemory {
    /// Where the mapping begins.
    pub base: Address,
    /// Its content.
    pub bytes: std::sync::Mutex<Vec<u8>>,
}

impl Memory for FakeMemory {
    fn read_some(&self, address: Address, buffer: &mut [u8]) -> Result<usize, Errno> {
        let bytes = self.bytes.lock().map_err(|_| Errno::EFAULT)?;
        let at = usize::try_from(address.checked_sub(self.base).ok_or(Errno::EFAULT)?).map_err(|_| Errno::EFAULT)?;
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty()).ok_or(Errno::EFAULT)?;
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }

    fn write(&self, address: Address, data: &[u8]) -> Result<(), Errno> {
        let mut bytes = self.bytes.lock().map_err(|_| Errno::EFAULT)?;
        let at = usize::try_from(address.checked_sub(self.base).ok_or(Errno::EFAULT)?).map_err(|_| Errno::EFAULT)?;
        let end = at.checked_add(data.len()).ok_or(Errno::EFAULT)?;
        bytes.get_mut(at..end).ok_or(Errno::EFAULT)?.copy_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: &[u8]) -> FakeMemory {
        FakeMemory { base: 0x1ff0, bytes: bytes.to_vec().into() }
    }

    #[test]
    fn strings_end_at_nul_limit_or_unmapped_memory() {
        let mut bytes = vec![b'a'; 100];
        bytes[40] = 0;
        let m = memory(&bytes);
        assert_eq!(m.read_string(0x1ff0, 4096), Ok(vec![b'a'; 40]), "across a page boundary");
        assert_eq!(m.read_string(0x1ff0, 41), Ok(vec![b'a'; 40]));
        assert_eq!(m.read_string(0x1ff0, 40), Err(Errno::ENAMETOOLONG));
        assert_eq!(m.read_string(0x1ff0 + 41, 4096), Err(Errno::EFAULT));
        assert_eq!(m.read_string(0, 4096), Err(Errno::EFAULT));
        assert_eq!(m.read_string(u64::MAX, 4096), Err(Errno::EFAULT));
    }

    #[test]
    fn own_process() {
        let text = b"hello\0";
        let own = ProcessMemory(Tid(std::process::id().cast_signed()));
        assert_eq!(own.read_path(text.as_ptr() as u64), Ok(b"hello".to_vec()));
        assert_eq!(own.read_path(8), Err(Errno::EFAULT));
        assert_eq!(own.write(8, b"x"), Err(Errno::EFAULT));
    }
}
