//! Inode and node numbers, derived and never allocated, so that they are the same
//! after a remount (rule 9).
//!
//! Packed layers: bit 63, 31 bits that stand for the layer, 32 bits of inode index.
//! Directory layers: bit 63 clear, 8 bits that stand for the file system (1 to 254),
//! 55 bits of its inode number. 255 is left to [`nodes`](super::nodes).

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::layer::Layer;
use crate::layer::directory::RealAttr;
use crate::layer::packed::InodeIndex;
use crate::{Ino, NodeId, Result};

const PACKED: u64 = 1 << 63;
const LAYER_MASK: u32 = 0x7fff_ffff;
/// Bits of a file system's own inode number that are kept as they are.
pub(super) const REAL_BITS: u32 = 55;
const REAL_MASK: u64 = (1 << REAL_BITS) - 1;
/// The most file systems that have a number of their own.
const MOST_DEVICES: usize = 254;

/// The layer and file-system numbers of one view.
#[derive(Debug)]
pub(super) struct Identity {
    /// By position of the layer.
    numbers: Box<[u32]>,
    positions: HashMap<u32, u32>,
    /// `st_dev` of the file systems, in the order of their numbers.
    devices: RwLock<Vec<u64>>,
}

/// What a node number says by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The root of the view.
    Root,
    /// An inode of the packed layer at this position.
    Packed(u32, InodeIndex),
    /// A node of a directory layer.
    Real,
    /// No layer of this view has such a node.
    Unknown,
}

impl Identity {
    /// Numbers the layers, the lowest first, so that a view on top of a chain has the
    /// numbers of that chain.
    pub(super) fn of(layers: &[Layer]) -> Result<Self> {
        let mut numbers = vec![0; layers.len()];
        let mut positions = HashMap::new();
        let mut devices = Vec::new();
        for ((position, layer), number) in (0..=u32::MAX)
            .zip(layers)
            .zip(&mut numbers)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            match layer {
                Layer::Packed(packed) => {
                    *number = crc32fast::hash(packed.label().as_bytes()) & LAYER_MASK;
                    while positions.contains_key(number) {
                        *number = number.wrapping_add(1) & LAYER_MASK;
                    }
                    positions.insert(*number, position);
                }
                Layer::Directory(directory) => {
                    let device = directory.attr(b"")?.device;
                    if !devices.contains(&device) {
                        devices.push(device);
                    }
                }
            }
        }
        Ok(Self {
            numbers: numbers.into(),
            positions,
            devices: RwLock::new(devices),
        })
    }

    /// Returns the number of an inode of the packed layer at a position.
    pub(super) fn packed(&self, layer: u32, index: InodeIndex) -> Ino {
        let number = self
            .numbers
            .get(layer as usize)
            .copied()
            .unwrap_or_default();
        Ino(PACKED | u64::from(number) << 32 | u64::from(index.0))
    }

    /// Returns the number of an inode of a file system.
    pub(super) fn real(&self, real: &RealAttr) -> Ino {
        self.inode((real.device, real.attr.ino))
    }

    /// Returns the same for its `st_dev` and own number.
    pub(super) fn inode(&self, (device, ino): (u64, Ino)) -> Ino {
        Ino(self.device_number(device) << REAL_BITS | real_bits(ino.0))
    }

    /// Returns what a node number says.
    pub(super) fn decode(&self, node: NodeId) -> Decoded {
        if node == NodeId::ROOT {
            return Decoded::Root;
        }
        if node.0 & PACKED == 0 {
            return Decoded::Real;
        }
        let number = u32::try_from(node.0 >> 32).unwrap_or_default() & LAYER_MASK;
        let index = u32::try_from(node.0 & u64::from(u32::MAX)).unwrap_or_default();
        match self.positions.get(&number) {
            Some(layer) => Decoded::Packed(*layer, InodeIndex(index)),
            None => Decoded::Unknown,
        }
    }

    fn device_number(&self, device: u64) -> u64 {
        let known = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let mut number = known.iter().position(|known| *known == device);
        drop(known);
        if number.is_none() {
            let mut known = self.devices.write().unwrap_or_else(PoisonError::into_inner);
            number = known.iter().position(|known| *known == device);
            if number.is_none() && known.len() < MOST_DEVICES {
                number = Some(known.len());
                known.push(device);
            }
        }
        number.map_or(1 + device % MOST_DEVICES as u64, |number| 1 + number as u64)
    }
}

/// Returns an inode number in 55 bits: itself where it fits, else a mixture of its
/// bits (the finaliser of `SplitMix64`).
fn real_bits(ino: u64) -> u64 {
    if ino <= REAL_MASK {
        return ino;
    }
    let mixed = (ino ^ (ino >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & REAL_MASK
}
