//! An external sorter of rows `(key, value)`: chunks are sorted in memory, spilled as runs, and merged key by key.
//!
//! Runs are unnamed temporary files: whatever ends the process, the system takes them back, and nothing is left to clean up.
//! A sorter that never fills its chunk touches no disk.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

/// Runs are merged into one when there are so many, so that open files and read buffers stay bounded.
const MAX_RUNS: usize = 200;
/// Bytes of a run's read buffer.
const READ_BUFFER: usize = 128 << 10;
/// Bytes of a run's write buffer.
const WRITE_BUFFER: usize = 1 << 20;

/// Takes rows in any order.
pub(crate) struct Sorter {
    folder: PathBuf,
    capacity: usize,
    chunk: Vec<(u64, u64)>,
    ascending: bool,
    runs: Vec<File>,
    rows: u64,
}

impl Sorter {
    /// Runs are spilled into `folder`; at most `capacity` rows (at least 1) are held in memory.
    pub(crate) fn new(folder: &Path, capacity: usize) -> Self {
        let folder = folder.to_owned();
        Self { folder, capacity: capacity.max(1), chunk: Vec::new(), ascending: true, runs: Vec::new(), rows: 0 }
    }

    /// Adds a row.
    #[inline]
    pub(crate) fn push(&mut self, key: u64, value: u64) -> io::Result<()> {
        if self.chunk.len() >= self.capacity {
            self.spill()?;
        }
        if let Some(&last) = self.chunk.last() {
            self.ascending &= last.0 <= key;
        }
        self.chunk.push((key, value));
        self.rows += 1;
        Ok(())
    }

    /// Ends the input.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        self.sort_chunk();
        if !self.runs.is_empty() {
            self.chunk.shrink_to_fit();
        }
        Ok(Sorted { chunk: self.chunk, runs: self.runs, rows: self.rows })
    }

    /// Sorts by key; a key's values are put in order when they are read, which for most inputs they are already.
    fn sort_chunk(&mut self) {
        if !self.ascending {
            radsort::sort_by_key(&mut self.chunk, |row| row.0);
        }
        self.ascending = true;
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort_chunk();
        if self.runs.len() >= MAX_RUNS {
            let runs = std::mem::take(&mut self.runs);
            let mut merged = Sorted { chunk: Vec::new(), runs, rows: 0 };
            let mut run = RunWriter::new(&self.folder)?;
            let mut groups = merged.groups()?;
            while let Some((key, values)) = groups.next()? {
                run.group(key, values.iter().copied())?;
            }
            self.runs.push(run.finish()?);
        }
        let mut run = RunWriter::new(&self.folder)?;
        for group in self.chunk.chunk_by(|a, b| a.0 == b.0) {
            run.group(group[0].0, group.iter().map(|row| row.1))?;
        }
        self.runs.push(run.finish()?);
        self.chunk.clear();
        Ok(())
    }
}

/// Writes groups: key, number of values, values; all as 8 bytes, little endian.
struct RunWriter(BufWriter<File>);

impl RunWriter {
    fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self(BufWriter::with_capacity(WRITE_BUFFER, tempfile::tempfile_in(folder)?)))
    }

    fn group(&mut self, key: u64, values: impl ExactSizeIterator<Item = u64>) -> io::Result<()> {
        self.0.write_all(&key.to_le_bytes())?;
        self.0.write_all(&(values.len() as u64).to_le_bytes())?;
        for value in values {
            self.0.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    }

    fn finish(self) -> io::Result<File> {
        self.0.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Sorted rows, which can be gone through any number of times.
pub(crate) struct Sorted {
    chunk: Vec<(u64, u64)>,
    runs: Vec<File>,
    rows: u64,
}

impl Sorted {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Goes through all rows from the smallest key.
    pub(crate) fn groups(&mut self) -> io::Result<Groups<'_>> {
        let mut runs = Vec::with_capacity(self.runs.len());
        let mut heads = BinaryHeap::with_capacity(self.runs.len() + 1);
        for file in &self.runs {
            let mut file: &File = file;
            file.rewind()?;
            let mut run = RunReader { file: BufReader::with_capacity(READ_BUFFER, file), values: 0 };
            if let Some(key) = run.next_key()? {
                heads.push(Reverse((key, runs.len())));
            }
            runs.push(run);
        }
        if let Some(first) = self.chunk.first() {
            heads.push(Reverse((first.0, runs.len())));
        }
        Ok(Groups { runs, chunk: &self.chunk, heads, values: Vec::new() })
    }
}

struct RunReader<'a> {
    file: BufReader<&'a File>,
    /// How many values of the key last read are still to be read.
    values: usize,
}

impl RunReader<'_> {
    fn next_key(&mut self) -> io::Result<Option<u64>> {
        let mut word = [0; 8];
        if self.file.read(&mut word[..1])? == 0 {
            return Ok(None);
        }
        self.file.read_exact(&mut word[1..])?;
        let key = u64::from_le_bytes(word);
        self.file.read_exact(&mut word)?;
        self.values = usize::try_from(u64::from_le_bytes(word)).map_err(io::Error::other)?;
        Ok(Some(key))
    }

    fn read_values(&mut self, into: &mut Vec<u64>) -> io::Result<()> {
        let mut word = [0; 8];
        into.reserve(self.values);
        for _ in 0..self.values {
            self.file.read_exact(&mut word)?;
            into.push(u64::from_le_bytes(word));
        }
        Ok(())
    }
}

/// Goes through sorted rows, one key with all its values at a time.
pub(crate) struct Groups<'a> {
    runs: Vec<RunReader<'a>>,
    /// What is left of the rows that never left the memory; their place in `heads` is after the last run.
    chunk: &'a [(u64, u64)],
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    values: Vec<u64>,
}

impl Groups<'_> {
    /// The next key and its values, ascending, equal ones repeated. `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, &[u64])>> {
        let Some(&Reverse((key, _))) = self.heads.peek() else { return Ok(None) };
        self.values.clear();
        while let Some(mut head) = self.heads.peek_mut() {
            let Reverse((head_key, place)) = *head;
            if head_key != key {
                break;
            }
            let next = match self.runs.get_mut(place) {
                Some(run) => {
                    run.read_values(&mut self.values)?;
                    run.next_key()?
                }
                None => {
                    let len = self.chunk.iter().take_while(|row| row.0 == key).count();
                    self.values.extend(self.chunk[..len].iter().map(|row| row.1));
                    self.chunk = &self.chunk[len..];
                    self.chunk.first().map(|row| row.0)
                }
            };
            match next {
                Some(next) => *head = Reverse((next, place)),
                None => {
                    PeekMut::pop(head);
                }
            }
        }
        // Runs come in the order of the input: for input in order of value this is already sorted.
        if !self.values.is_sorted() {
            self.values.sort_unstable();
        }
        Ok(Some((key, &self.values)))
    }
}

/// Follows sorted rows beside another ascending stream: a merge join, one key at a time.
pub(crate) struct Follow<'a> {
    groups: Groups<'a>,
    key: Option<u64>,
    value: u64,
}

impl<'a> Follow<'a> {
    /// From the start of `sorted`.
    pub(crate) fn new(sorted: &'a mut Sorted) -> io::Result<Self> {
        let mut follow = Self { groups: sorted.groups()?, key: None, value: 0 };
        follow.step()?;
        Ok(follow)
    }

    fn step(&mut self) -> io::Result<()> {
        (self.key, self.value) = match self.groups.next()? {
            Some((key, values)) => (Some(key), values[0]),
            None => (None, 0),
        };
        Ok(())
    }

    /// The first value of `key`, if it is there. Keys must be asked for in ascending order.
    #[inline]
    pub(crate) fn find(&mut self, key: u64) -> io::Result<Option<u64>> {
        while self.key.is_some_and(|own| own < key) {
            self.step()?;
        }
        Ok((self.key == Some(key)).then_some(self.value))
    }

    /// All values of `key`, ascending; none where it does not stand. Keys must be asked for in ascending order.
    pub(crate) fn values(&mut self, key: u64) -> io::Result<&[u64]> {
        Ok(if self.find(key)?.is_some() { &self.groups.values } else { &[] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(rows: &[(u64, u64)], capacity: usize) -> Sorted {
        let mut sorter = Sorter::new(&std::env::temp_dir(), capacity);
        for &(key, value) in rows {
            sorter.push(key, value).expect("push");
        }
        sorter.finish().expect("finish")
    }

    fn all(sorted: &mut Sorted) -> Vec<(u64, u64)> {
        let mut groups = sorted.groups().expect("groups");
        let mut rows = Vec::new();
        while let Some((key, values)) = groups.next().expect("next") {
            rows.extend(values.iter().map(|&value| (key, value)));
        }
        rows
    }

    #[test]
    fn rows_come_back_sorted_whatever_the_chunk() {
        let mut random = 7_u64;
        let mut rows = Vec::new();
        for _ in 0..2_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            rows.push(((random >> 33) % 97, (random >> 20) % 1_000));
        }
        let mut expected = rows.clone();
        expected.sort_unstable();
        // 3 makes more runs than may stand side by side.
        for capacity in [1, 3, 100, 1_999, 2_000, 100_000] {
            let mut sorted = sorted(&rows, capacity);
            assert_eq!(sorted.rows(), 2_000);
            assert_eq!(all(&mut sorted), expected, "capacity {capacity}");
            assert_eq!(all(&mut sorted), expected, "second time, capacity {capacity}");
        }
    }

    #[test]
    fn following_finds_what_is_there() {
        let mut sorted = sorted(&[(5, 50), (1, 10), (9, 90), (5, 49)], 2);
        let mut follow = Follow::new(&mut sorted).expect("follow");
        let found: Vec<_> = [0, 1, 1, 4, 5, 8, 9, 10].iter().map(|&key| follow.find(key).expect("find")).collect();
        assert_eq!(found, [None, Some(10), Some(10), None, Some(49), None, Some(90), None]);
        let mut follow = Follow::new(&mut sorted).expect("follow");
        assert!(follow.values(4).expect("values").is_empty());
        assert_eq!(follow.values(5).expect("values"), [49, 50]);
        assert!(follow.values(6).expect("values").is_empty());
    }
}
