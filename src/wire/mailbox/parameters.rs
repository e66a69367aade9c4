//! The parameters of a command, sorted by their kind.

use crate::wire::command::{CommandError, once};
use crate::wire::word::{Word, number};

/// The words of a line, sorted by their kind.
pub(super) struct Parameters<'a> {
    texts: Vec<&'a str>,
    blocks: Vec<u64>,
    named: Vec<(&'a str, &'a str)>,
    switches: Vec<(&'a str, bool)>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(words: &'a [Word]) -> Self {
        let mut sorted = Self { texts: Vec::new(), blocks: Vec::new(), named: Vec::new(), switches: Vec::new() };
        for word in words {
            match word {
                Word::Text(text) => sorted.texts.push(text),
                Word::Block(size) => sorted.blocks.push(*size),
                Word::Named { name, value } => sorted.named.push((name, value)),
                Word::Switch { name, on } => sorted.switches.push((name, *on)),
            }
        }
        sorted
    }

    /// All texts; an error where the line announces a block.
    pub(super) fn all_texts(&self) -> Result<&[&'a str], CommandError> {
        if self.blocks.is_empty() { Ok(&self.texts) } else { Err(CommandError::Parameter) }
    }

    /// Exactly so many texts, and no block.
    pub(super) fn texts<const N: usize>(&self) -> Result<[&'a str; N], CommandError> {
        self.all_texts()?.try_into().map_err(|_| CommandError::Parameter)
    }

    /// Exactly so many texts and one block.
    pub(super) fn plain<const N: usize>(&self) -> Result<([&'a str; N], u64), CommandError> {
        match (self.texts.as_slice().try_into(), self.blocks.as_slice()) {
            (Ok(texts), [size]) => Ok((texts, *size)),
            _ => Err(CommandError::Parameter),
        }
    }

    pub(super) fn named(&self, name: &str) -> Result<Option<&'a str>, CommandError> {
        once_of(self.named.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value))
    }

    pub(super) fn switch(&self, name: &str) -> Result<Option<bool>, CommandError> {
        once_of(self.switches.iter().filter(|(known, _)| *known == name).map(|(_, on)| *on))
    }

    pub(super) fn parsed<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, CommandError> {
        self.named(name)?.map(|value| read(value).ok_or(CommandError::Parameter)).transpose()
    }
}

fn once_of<T>(values: impl Iterator<Item = T>) -> Result<Option<T>, CommandError> {
    let mut place = None;
    for value in values {
        once(&mut place, Some(value))?;
    }
    Ok(place)
}

pub(super) fn small(digits: &str) -> Option<u32> {
    number(digits).and_then(|number| u32::try_from(number).ok())
}
