//! The admin token in the data directory.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// The name of the token's file in the data directory.
const FILE: &str = "admin.token";
/// A shorter one could be guessed.
const SHORTEST: usize = 16;

/// The token that opens the whole API, and where it is kept.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminToken {
    /// The token: `hmk_` and 32 random bytes in base64url, unless the operator wrote one of his own.
    pub token: String,
    /// Its file.
    pub path: PathBuf,
    /// Whether it was made by this call.
    pub created: bool,
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").field("path", &self.path).field("created", &self.created).finish_non_exhaustive()
    }
}

/// Reads `admin.token` in the data directory `dir`, or makes it, readable by its owner alone. The file appears complete or
/// not at all, and of several callers at once one makes it and all get the same.
///
/// # Errors
/// When the file cannot be read or made, or holds fewer than 16 characters, or others than visible ASCII.
pub fn admin_token(dir: &Path) -> io::Result<AdminToken> {
    let path = dir.join(FILE);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return Ok(AdminToken { token: found?, path, created: false }),
    }
    let token = format!("hmk_{}", random()?);
    let created = create(dir, &path, &token)?;
    let token = if created { token } else { read(&path)? };
    Ok(AdminToken { token, path, created })
}

fn read(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let token = text.trim();
    if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let detail = format!("{} must hold at least {SHORTEST} visible ASCII characters", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
    }
    Ok(token.to_owned())
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Writes beside the place, then links into it, which fails when somebody was faster.
fn create(dir: &Path, path: &Path, token: &str) -> io::Result<bool> {
    let draft = dir.join(format!(".{FILE}.{}", random()?));
    let written = write(&draft, token).and_then(|()| fs::hard_link(&draft, path));
    let _leftover = fs::remove_file(&draft);
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn write(draft: &Path, token: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = admin_token(dir.path()).unwrap();
        let again = admin_token(dir.path()).unwrap();
        assert!(first.created && !again.created);
        assert_eq!(first.token, again.token);
        assert!(first.token.starts_with("hmk_") && first.token.len() == 47);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn callers_at_once_get_the_same_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let tokens: Vec<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| admin_token(path).unwrap())).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(tokens.iter().filter(|token| token.created).count(), 1);
        assert!(tokens.iter().all(|token| token.token == tokens[0].token));
    }

    #[test]
    fn a_file_that_holds_no_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "\n", "short", "a token with spaces in it"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert_eq!(admin_token(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }
}
