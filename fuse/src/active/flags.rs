//! Flags of inodes: what `chattr` and `lsattr` call attributes (`ioctl_iflags(2)`), and the
//! structure that has them with the number of a project.
//!
//! They are those of the inode in the upper, and the file system of the upper holds
//! everybody to them. Those of layers are shown and bind nobody, and a copy has none of them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{IFlags, OFlags, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::ActiveView;
use super::copy_up::Contents;
use super::node::Node;
use super::upper::{Inode, entry};
use crate::sys::{self, FileAttributes};
use crate::{Error, FileType, NodeId, Reply, Result};

/// `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`, `FS_IOC_FSGETXATTR`, `FS_IOC_FSSETXATTR`.
const GET_FLAGS: u32 = 0x8008_6601;
const SET_FLAGS: u32 = 0x4008_6602;
const GET_ATTRIBUTES: u32 = 0x801c_581f;
const SET_ATTRIBUTES: u32 = 0x401c_5820;

impl ActiveView {
    /// Answers `ioctl`.
    pub(super) fn ioctl(&self, id: NodeId, command: u32, input: &[u8]) -> Result<Reply<'_>> {
        let node = self.node(id)?;
        let output = match command {
            GET_FLAGS => {
                let flags = self.flagged(&node)?.map(ioctl_getflags).transpose()?;
                flags.unwrap_or(IFlags::empty()).bits().to_ne_bytes().into()
            }
            GET_ATTRIBUTES => {
                let file = self.flagged(&node)?;
                let attributes = file.map(sys::file_attributes).transpose()?;
                attributes.unwrap_or_default().into()
            }
            SET_FLAGS => {
                let flags = input.first_chunk().ok_or(Error::Refused(Errno::INVAL))?;
                let flags = IFlags::from_bits_retain(u32::from_ne_bytes(*flags));
                ioctl_setflags(self.to_be_flagged(&node)?, flags)?;
                self.lift_limits(&node)?;
                Vec::new()
            }
            SET_ATTRIBUTES => {
                let attributes: &FileAttributes =
                    input.first_chunk().ok_or(Error::Refused(Errno::INVAL))?;
                sys::set_file_attributes(self.to_be_flagged(&node)?, *attributes)?;
                self.lift_limits(&node)?;
                Vec::new()
            }
            _ => return Err(Error::Refused(Errno::NOTTY)),
        };
        Ok(Reply::Ioctl { result: 0, output })
    }

    /// Opens what has the flags of a node; `None` in packed layers, and for directories of
    /// layers.
    fn flagged(&self, node: &Node) -> Result<Option<OwnedFd>> {
        match (node.lower_alone(), node.file_type) {
            (None, _) => self.open_flagged(node).map(Some),
            (Some(lower), FileType::Regular) => match self.lower.file_of(lower)? {
                Some(file) => {
                    Ok(Some(file.try_clone().map_err(|error| {
                        Errno::from_io_error(&error).unwrap_or(Errno::MFILE)
                    })?))
                }
                None => Ok(None),
            },
            (Some(_), _) => Ok(None),
        }
    }

    /// Opens the inode of the upper that is to have flags. It has its contents then: some
    /// flags let nobody write them later.
    fn to_be_flagged(&self, node: &Node) -> Result<OwnedFd> {
        self.copy_up(node, Contents::ALL)?;
        self.open_flagged(node)
    }

    /// Opens anew what is kept open but could not be opened for all writing, as its flags
    /// may allow it by now.
    fn lift_limits(&self, node: &Node) -> Result<()> {
        let kept = node.state().kept().cloned();
        if node.file_type != FileType::Regular || !limits_of(kept.as_ref())?.is_limited() {
            return Ok(());
        }
        let file = Inode(Arc::new(self.inode(node)?.open()?));
        let mut state = node.state();
        if state.kept_file().is_some() {
            state.keep_file(file);
        }
        Ok(())
    }

    fn open_flagged(&self, node: &Node) -> Result<OwnedFd> {
        match node.file_type {
            FileType::Directory => entry::readable(&*self.directory_inode(node)?.0),
            FileType::Regular => self.inode(node)?.open(),
            _ => Err(Error::Refused(Errno::NOTTY)),
        }
    }
}

/// Refuses to open for writing what nobody may write now, or only append to.
pub(super) fn refuse_where_flags_do(node: &Node, flags: u32) -> Result<()> {
    let kept = node.state().kept().cloned();
    let limits = limits_of(kept.as_ref())?;
    let appends = flags & libc::O_APPEND.cast_unsigned() != 0;
    if limits.is_read_only || limits.is_append_only && !appends {
        return Err(Error::Refused(Errno::PERM));
    }
    Ok(())
}

/// What the flags of an inode did not allow when it was opened.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    is_read_only: bool,
    is_append_only: bool,
}

impl Limits {
    fn is_limited(self) -> bool {
        self.is_read_only || self.is_append_only
    }
}

fn limits_of(kept: Option<&Inode>) -> Result<Limits> {
    let Some(file) = kept else {
        return Ok(Limits::default());
    };
    let mode = rustix::fs::fcntl_getfl(file.fd())?;
    Ok(Limits {
        is_read_only: mode & OFlags::RWMODE == OFlags::RDONLY,
        is_append_only: mode.contains(OFlags::APPEND),
    })
}
