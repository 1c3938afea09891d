//! The parser: what the next bytes of an archive are.

use std::mem;

use super::header::{BLOCK, Block, Header};
use super::pending::{Meta, Pending};
use super::sparse::{self, MapReader, Region};
use super::{Entry, EntryKind, TarError, TarFault};

/// Bytes of PAX records of one entry that are read at most.
const EXTENDED_LIMIT: u64 = 1 << 20;
/// Bytes of a GNU long name that are read at most.
const LONG_NAME_LIMIT: u64 = 64 << 10;

/// What is done with an entry; a fault is reported as the entry's.
pub type Sink<'a> = dyn FnMut(Entry) -> Result<(), TarFault> + 'a;

/// A tar archive in the course of being read.
#[derive(Debug)]
pub struct Parser {
    /// Bytes taken so far.
    position: u64,
    block: Block,
    filled: usize,
    state: State,
    pending: Pending,
    /// The offset of the header being read.
    header_offset: u64,
    /// The name of the last entry, for messages.
    last_name: Vec<u8>,
    /// Whether the last entry was a hard link with a size.
    after_sized_link: bool,
}

/// What the next bytes are.
#[derive(Debug)]
enum State {
    Header,
    /// One block of zeros was seen: a second one makes the end.
    Zero,
    End,
    /// The payload of a header that says more of the next entry.
    Meta {
        kind: Meta,
        payload: Vec<u8>,
        remaining: u64,
        padding: u64,
    },
    /// A block with more cells of an old GNU sparse map.
    Cells {
        entry: Box<Entry>,
        regions: Vec<Region>,
        stored: u64,
    },
    /// A block of the map in front of the contents of a sparse file.
    Map {
        entry: Box<Entry>,
        reader: MapReader,
        stored: u64,
    },
    /// Contents, then padding, which may be missing at the very end.
    Skip {
        content: u64,
        padding: u64,
    },
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            position: 0,
            block: [0; BLOCK],
            filled: 0,
            state: State::Header,
            pending: Pending::default(),
            header_offset: 0,
            last_name: Vec::new(),
            after_sized_link: false,
        }
    }
}

impl Parser {
    /// Takes the next bytes and calls `sink` with each entry whose headers end in
    /// them. After an error the parser is of no more use.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), TarError> {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::End => bytes.len(),
                State::Skip { content, padding } => skip(bytes.len(), &mut [content, padding]),
                State::Meta {
                    payload,
                    remaining,
                    padding,
                    ..
                } => {
                    let before = *remaining;
                    let taken = skip(bytes.len(), &mut [remaining, padding]);
                    let kept = usize::try_from(before).unwrap_or(usize::MAX).min(taken);
                    payload.extend_from_slice(&bytes[..kept]);
                    taken
                }
                _ => {
                    let taken = bytes.len().min(BLOCK - self.filled);
                    self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                    self.filled += taken;
                    taken
                }
            };
            bytes = &bytes[taken..];
            self.position += taken as u64;
            self.advance(sink).map_err(|fault| self.error(fault))?;
        }
        Ok(())
    }

    /// Says that no more bytes come.
    pub fn finish(&self) -> Result<(), TarError> {
        let is_whole = match &self.state {
            State::Header | State::Zero => self.filled == 0 && self.pending.is_empty(),
            State::End => true,
            State::Skip { content, .. } => *content == 0,
            State::Meta { .. } | State::Cells { .. } | State::Map { .. } => false,
        };
        if is_whole {
            Ok(())
        } else {
            Err(self.error(TarFault::Truncated))
        }
    }

    fn error(&self, fault: TarFault) -> TarError {
        fault.of(&self.last_name, self.header_offset)
    }

    /// Leaves a state that has got all of its bytes.
    fn advance(&mut self, sink: &mut Sink<'_>) -> Result<(), TarFault> {
        match &mut self.state {
            State::Skip {
                content: 0,
                padding: 0,
            } => self.state = State::Header,
            State::Meta {
                kind,
                payload,
                remaining: 0,
                padding: 0,
            } => {
                let (kind, payload) = (*kind, mem::take(payload));
                self.state = State::Header;
                self.pending.take(kind, &payload)?;
            }
            State::End | State::Skip { .. } | State::Meta { .. } => {}
            _ if self.filled < BLOCK => {}
            _ => {
                self.filled = 0;
                let block = self.block;
                match mem::replace(&mut self.state, State::End) {
                    State::Cells {
                        entry,
                        mut regions,
                        stored,
                    } => {
                        let (cells, has_more) = sparse::extension(&block);
                        sparse::add_cells(cells, &mut regions)?;
                        self.take_cells(entry, regions, stored, has_more, sink)?;
                    }
                    State::Map {
                        entry,
                        reader,
                        stored,
                    } => {
                        self.take_map(entry, reader, stored, Some(&block), sink)?;
                    }
                    state => self.take_header(&block, matches!(state, State::Zero), sink)?,
                }
            }
        }
        Ok(())
    }

    fn take_header(
        &mut self,
        block: &Block,
        after_zero: bool,
        sink: &mut Sink<'_>,
    ) -> Result<(), TarFault> {
        self.header_offset = self.position - BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            self.state = if after_zero { State::End } else { State::Zero };
            return Ok(());
        }
        if after_zero {
            return Err(TarFault::LoneZeroBlock);
        }
        let after_sized_link = mem::take(&mut self.after_sized_link);
        let Some(header) = Header::new(block) else {
            return Err(if after_sized_link {
                TarFault::LinkData
            } else {
                TarFault::Checksum
            });
        };
        if matches!(header.type_flag(), b'x' | b'g' | b'L' | b'K') {
            self.state = meta(&header)?;
            return self.advance(sink);
        }
        self.take_entry(&header, sink)
    }

    fn take_entry(&mut self, header: &Header<'_>, sink: &mut Sink<'_>) -> Result<(), TarFault> {
        let pending = mem::take(&mut self.pending);
        self.last_name = pending.name(header);
        let stored = match pending.extended.size {
            Some(size) => size,
            None => header.size()?,
        };
        let mut entry =
            Box::new(pending.entry(header, self.header_offset, self.last_name.clone())?);
        self.after_sized_link = entry.kind == EntryKind::HardLink && stored > 0;
        if entry.kind != EntryKind::Regular {
            return self.emit(*entry, 0, 0, sink);
        }
        entry.size = stored;
        if header.type_flag() == b'S' {
            let (cells, has_more, size) = header.sparse()?;
            entry.size = size;
            let mut regions = Vec::new();
            sparse::add_cells(cells, &mut regions)?;
            return self.take_cells(entry, regions, stored, has_more, sink);
        }
        let sparse = pending.extended.sparse;
        match sparse.map_in_contents() {
            None => {
                entry.extents = sparse::extents(
                    &[Region {
                        offset: 0,
                        length: stored,
                    }],
                    stored,
                    self.position,
                    stored,
                )?;
                self.emit(*entry, stored, stored, sink)
            }
            Some(true) => {
                entry.size = sparse.size.unwrap_or(stored);
                self.take_map(entry, MapReader::default(), stored, None, sink)
            }
            Some(false) => {
                if sparse
                    .count
                    .is_some_and(|count| usize::try_from(count) != Ok(sparse.map.len()))
                {
                    return Err(TarFault::Sparse("number of parts differs"));
                }
                entry.size = sparse.size.unwrap_or(stored);
                entry.extents = sparse::extents(&sparse.map, entry.size, self.position, stored)?;
                self.emit(*entry, stored, stored, sink)
            }
        }
    }

    fn take_cells(
        &mut self,
        mut entry: Box<Entry>,
        regions: Vec<Region>,
        stored: u64,
        has_more: bool,
        sink: &mut Sink<'_>,
    ) -> Result<(), TarFault> {
        if has_more {
            self.state = State::Cells {
                entry,
                regions,
                stored,
            };
            return Ok(());
        }
        entry.extents = sparse::extents(&regions, entry.size, self.position, stored)?;
        self.emit(*entry, stored, stored, sink)
    }

    /// Takes a block of a map that stands in the contents; `stored` counts what of
    /// the contents is still to come, this block included.
    fn take_map(
        &mut self,
        mut entry: Box<Entry>,
        mut reader: MapReader,
        stored: u64,
        block: Option<&Block>,
        sink: &mut Sink<'_>,
    ) -> Result<(), TarFault> {
        let Some(block) = block else {
            self.state = State::Map {
                entry,
                reader,
                stored,
            };
            return Ok(());
        };
        let is_complete = reader.push(block)?;
        let stored = stored
            .checked_sub(BLOCK as u64)
            .ok_or(TarFault::Sparse("map is longer than the contents"))?;
        if !is_complete {
            self.state = State::Map {
                entry,
                reader,
                stored,
            };
            return Ok(());
        }
        entry.extents = sparse::extents(reader.regions(), entry.size, self.position, stored)?;
        self.emit(*entry, stored, stored, sink)
    }

    fn emit(
        &mut self,
        entry: Entry,
        content: u64,
        padded: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), TarFault> {
        self.state = State::Skip {
            content,
            padding: padding(padded),
        };
        sink(entry)?;
        self.advance(sink)
    }
}

/// Takes bytes off the counts, in order; returns how many of `available`.
fn skip(available: usize, counts: &mut [&mut u64]) -> usize {
    let mut taken = 0;
    for count in counts {
        let step = usize::try_from(**count)
            .unwrap_or(usize::MAX)
            .min(available - taken);
        **count -= step as u64;
        taken += step;
    }
    taken
}

/// Returns the bytes that fill the last block of contents up.
fn padding(size: u64) -> u64 {
    let block = BLOCK as u64;
    (block - size % block) % block
}

/// Returns how to read the payload of a header that is no entry itself.
fn meta(header: &Header<'_>) -> Result<State, TarFault> {
    let size = header.size()?;
    let (kind, limit) = match header.type_flag() {
        b'L' => (Meta::LongName, LONG_NAME_LIMIT),
        b'K' => (Meta::LongLink, LONG_NAME_LIMIT),
        b'x' => (Meta::Extended, EXTENDED_LIMIT),
        _ => {
            return Ok(State::Skip {
                content: size,
                padding: padding(size),
            });
        }
    };
    if size > limit {
        return Err(TarFault::ExtendedTooLarge { size, limit });
    }
    Ok(State::Meta {
        kind,
        payload: Vec::new(),
        remaining: size,
        padding: padding(size),
    })
}
