//! The flags of messages: the system flags, and keywords by their place in a folder's table or by name.

use serde::{Deserialize, Serialize};

/// System flags (bits 0–4) and keywords (bits 8–63, by the folder's [`Folder::keywords`](super::Folder::keywords)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flags(pub u64);

impl Flags {
    /// `\Seen`
    pub const SEEN: Self = Self(1);
    /// `\Answered`
    pub const ANSWERED: Self = Self(2);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(4);
    /// `\Deleted`
    pub const DELETED: Self = Self(8);
    /// `\Draft`
    pub const DRAFT: Self = Self(16);
    const SYSTEM_BITS: u64 = 0x1f;

    /// The bit of the keyword at this place of the folder's list.
    pub fn keyword(index: usize) -> Self {
        Self(u32::try_from(index + 8).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0))
    }

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn system(self) -> Self {
        Self(self.0 & Self::SYSTEM_BITS)
    }
}

/// Flags by name, as a record or a request holds them: keyword bits mean nothing outside their folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NamedFlags {
    /// System flags only.
    pub system: Flags,
    /// Keywords, as written; compared without regard to case.
    pub keywords: Vec<String>,
}

impl NamedFlags {
    /// These system flags and no keyword.
    pub const fn system(flags: Flags) -> Self {
        Self { system: flags.system(), keywords: Vec::new() }
    }
}

/// How STORE combines flags (RFC 9051 §6.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlagChange {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}
