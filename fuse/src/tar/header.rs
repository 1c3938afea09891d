//! The 512-byte header block: its fields, and the formats that give them meaning.

use super::TarFault;
use super::number::numeric;

/// The unit of everything in an archive, in bytes.
pub(crate) const BLOCK: usize = 512;

/// One block of an archive.
pub(crate) type Block = [u8; BLOCK];

/// A header block with a right checksum.
pub(crate) struct Header<'a> {
    block: &'a Block,
    format: Format,
}

/// The dialects, told apart by their magic numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    /// Returns the header in a block whose checksum is right, be it summed over
    /// unsigned bytes (POSIX) or signed ones (old Sun tar).
    pub(crate) fn new(block: &'a Block) -> Option<Self> {
        let stated = numeric(&block[148..156])?;
        let (before, field, after) = (&block[..148], 8 * i64::from(b' '), &block[156..]);
        let sum = |of: fn(&u8) -> i32| -> i64 {
            let sum: i32 = before.iter().map(of).sum::<i32>() + after.iter().map(of).sum::<i32>();
            i64::from(sum) + field
        };
        if stated != sum(|byte| i32::from(*byte))
            && stated != sum(|byte| i32::from(byte.cast_signed()))
        {
            return None;
        }
        let format = match &block[257..265] {
            b"ustar  \0" => Format::Gnu,
            magic if magic.starts_with(b"ustar\0") && block[508..] == *b"tar\0" => Format::Star,
            magic if magic.starts_with(b"ustar\0") => Format::Ustar,
            _ => Format::V7,
        };
        Some(Self { block, format })
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        match self.prefix() {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        }
    }

    /// Returns the directory part that ustar keeps apart from a long name.
    ///
    /// GNU keeps two times in its place. Writers that put a prefix there all the
    /// same were common once (Go before 1.8): it is one where the times are no
    /// numbers, as Go reads it since.
    fn prefix(&self) -> &[u8] {
        match self.format {
            Format::V7 => &[],
            Format::Ustar => text(&self.block[345..500]),
            Format::Star => text(&self.block[345..476]),
            Format::Gnu => {
                let is_time = |field: &[u8]| field[0] == 0 || numeric(field).is_some();
                let prefix = text(&self.block[345..500]);
                let has_times = is_time(&self.block[345..357]) && is_time(&self.block[357..369]);
                if has_times || !prefix.is_ascii() {
                    &[]
                } else {
                    prefix
                }
            }
        }
    }

    pub(crate) fn link(&self) -> &[u8] {
        text(&self.block[157..257])
    }

    pub(crate) fn mode(&self) -> Result<u32, TarFault> {
        let mode = self.number(100..108, "mode")?;
        u32::try_from(mode & 0o7777).map_err(|_| TarFault::Number { field: "mode" })
    }

    pub(crate) fn uid(&self) -> Result<i64, TarFault> {
        self.number(108..116, "uid")
    }

    pub(crate) fn gid(&self) -> Result<i64, TarFault> {
        self.number(116..124, "gid")
    }

    pub(crate) fn size(&self) -> Result<u64, TarFault> {
        let size = self.number(124..136, "size")?;
        u64::try_from(size).map_err(|_| TarFault::Number { field: "size" })
    }

    pub(crate) fn mtime(&self) -> Result<i64, TarFault> {
        self.number(136..148, "mtime")
    }

    /// Returns major and minor number, in the range that the kernel has for them.
    pub(crate) fn device(&self) -> Result<(u32, u32), TarFault> {
        if self.format == Format::V7 {
            return Ok((0, 0));
        }
        let part = |range, field, bits: u32| {
            let value = self.number(range, field)?;
            let value = u32::try_from(value).ok().filter(|value| value >> bits == 0);
            value.ok_or(TarFault::Number { field })
        };
        Ok((
            part(329..337, "devmajor", 12)?,
            part(337..345, "devminor", 20)?,
        ))
    }

    /// Returns the sparse map of an old GNU header: its cells, whether a block with
    /// more of them follows, and the size of the file with its holes.
    pub(crate) fn sparse(&self) -> Result<(&'a [u8], bool, u64), TarFault> {
        if self.format != Format::Gnu {
            return Err(TarFault::Sparse("not a GNU header"));
        }
        let size = self.number(483..495, "realsize")?;
        let size = u64::try_from(size).map_err(|_| TarFault::Number { field: "realsize" })?;
        Ok((&self.block[386..482], self.block[482] != 0, size))
    }

    fn number(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<i64, TarFault> {
        numeric(&self.block[range]).ok_or(TarFault::Number { field })
    }
}

/// Returns a text field without what follows its first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
