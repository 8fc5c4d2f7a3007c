//! Whole lines at the end of a file, or none.

use std::io;

/// A file that is being appended to.
pub(super) trait Appended {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Whether the byte before `length`, which is not 0, ends a line.
    fn ends_line(&self, length: u64) -> io::Result<bool>;
    /// Writes the beginning of `bytes` at its end; tells how many of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Brings it to disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts it off.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Appends `lines` and brings them to disk. Half a line that something else left at the end is ended first.
///
/// # Errors
/// When writing or syncing fails. The file then has the length that it had before, unless that fails too or somebody else has
/// appended meanwhile.
pub(super) fn append(file: &mut impl Appended, lines: &[u8]) -> io::Result<()> {
    let before = file.length()?;
    let mut written = 0;
    let result = whole_lines(file, before, lines, &mut written);
    if result.is_err() && written > 0 && file.length().ok() == before.checked_add(written) {
        // What stays in spite of this is ended before the next line.
        let _stays = file.truncate(before);
    }
    result
}

fn whole_lines(file: &mut impl Appended, before: u64, lines: &[u8], written: &mut u64) -> io::Result<()> {
    if before == 0 || file.ends_line(before)? {
        write_all(file, lines, written)?;
    } else {
        write_all(file, &[b"\n", lines].concat(), written)?;
    }
    file.sync()
}

fn write_all(file: &mut impl Appended, mut bytes: &[u8], written: &mut u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        *written = written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What the disk does at one call.
    #[derive(Clone, Copy, Debug)]
    enum Does {
        /// Takes this many bytes at most.
        Takes(usize),
        /// Interrupts.
        Interrupts,
        /// Is full.
        IsFull,
    }

    #[derive(Debug, Default)]
    struct Scripted {
        content: Vec<u8>,
        writes: VecDeque<Does>,
        syncs: VecDeque<bool>,
        truncates: VecDeque<bool>,
    }

    fn full() -> io::Error {
        io::ErrorKind::StorageFull.into()
    }

    impl Appended for Scripted {
        fn length(&self) -> io::Result<u64> {
            Ok(self.content.len() as u64)
        }

        fn ends_line(&self, length: u64) -> io::Result<bool> {
            Ok(self.content[usize::try_from(length).unwrap() - 1] == b'\n')
        }

        fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = match self.writes.pop_front() {
                None => bytes.len(),
                Some(Does::Takes(most)) => bytes.len().min(most),
                Some(Does::Interrupts) => return Err(io::ErrorKind::Interrupted.into()),
                Some(Does::IsFull) => return Err(full()),
            };
            self.content.extend(&bytes[..count]);
            Ok(count)
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.syncs.pop_front().unwrap_or(true) { Ok(()) } else { Err(full()) }
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            if !self.truncates.pop_front().unwrap_or(true) {
                return Err(full());
            }
            self.content.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_fills_up_in_the_middle_leaves_no_half_line() {
        let writes = [Does::Takes(100), Does::Takes(3), Does::IsFull].into();
        let mut file = Scripted { writes, ..Scripted::default() };
        append(&mut file, b"{\"a\":1}\n").unwrap();
        assert_eq!(append(&mut file, b"{\"a\":2}\n").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.content, b"{\"a\":1}\n");
        append(&mut file, b"{\"a\":3}\n").unwrap();
        assert_eq!(file.content, b"{\"a\":1}\n{\"a\":3}\n");
    }

    #[test]
    fn half_a_line_of_a_crash_stands_alone() {
        let mut file = Scripted { content: b"{}\n{\"a".to_vec(), ..Scripted::default() };
        append(&mut file, b"{\"b\":1}\n").unwrap();
        assert_eq!(file.content, b"{}\n{\"a\n{\"b\":1}\n");
    }

    #[test]
    fn what_could_not_be_synced_is_taken_back() {
        let mut file = Scripted { content: b"{}\n".to_vec(), syncs: [false].into(), ..Scripted::default() };
        assert!(append(&mut file, b"1\n").is_err());
        assert_eq!(file.content, b"{}\n");
    }

    fn does() -> impl Strategy<Value = Does> {
        prop_oneof![(0..9_usize).prop_map(Does::Takes), Just(Does::Interrupts), Just(Does::IsFull)]
    }

    proptest! {
        #[test]
        fn a_file_holds_what_was_confirmed_in_order_and_nothing_else(
            groups in vec("([a-z]{1,5}\n){1,3}", 1..8),
            writes in vec(does(), 0..20),
            syncs in vec(any::<bool>(), 0..8),
        ) {
            let mut file = Scripted { writes: writes.into(), syncs: syncs.into(), ..Scripted::default() };
            let mut confirmed = String::new();
            for group in groups {
                if append(&mut file, group.as_bytes()).is_ok() {
                    confirmed += &group;
                }
                prop_assert_eq!(String::from_utf8_lossy(&file.content), confirmed.as_str());
            }
        }

        #[test]
        fn each_confirmed_line_is_whole_even_where_nothing_can_be_taken_back(
            groups in vec("([a-z]{1,5}!\n){1,3}", 1..8),
            writes in vec(does(), 0..20),
            truncates in vec(any::<bool>(), 0..8),
        ) {
            let mut file = Scripted { writes: writes.into(), truncates: truncates.into(), ..Scripted::default() };
            let mut confirmed = Vec::new();
            for group in &groups {
                if append(&mut file, group.as_bytes()).is_ok() {
                    confirmed.extend(group.lines());
                }
            }
            let content = String::from_utf8(file.content).unwrap();
            let mut lines = content.lines();
            prop_assert!(confirmed.iter().all(|line| lines.any(|found| found == *line)), "{content:?}");
        }
    }
}
