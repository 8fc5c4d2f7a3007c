//! The data directory is the store's alone: no endpoint writes its file there.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

use crate::{
    endpoint::{EndpointId, Target},
    error::Fault,
    store::lies_in,
};

/// Whether either of two directories lies in the other one.
fn overlap(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(lies_in(one, other)? || lies_in(other, one)?)
}

/// The mistakes in file roots that are the data directory, lie in it, or have it below them.
pub(super) fn roots(roots: &[PathBuf], data_dir: Option<&Path>) -> Vec<Fault> {
    let why = |root: &PathBuf| match overlap(root, data_dir?) {
        Ok(false) => None,
        Ok(true) => Some("is, holds or lies in the data directory: keep files of endpoints elsewhere".to_owned()),
        Err(error) => Some(format!("cannot be told from the data directory: {error}")),
    };
    let found = roots.iter().enumerate();
    found.filter_map(|(index, root)| Some(Fault::new(format!("#/file_roots/{index}"), why(root)?))).collect()
}

/// Which of these have a file in the data directory, and what is wrong with that. Relative paths lie below `root`.
pub(super) fn trespassing(
    targets: &[(&EndpointId, &Target)],
    root: Option<&Path>,
    data_dir: Option<&Path>,
) -> Vec<(usize, String)> {
    let Some(data_dir) = data_dir else { return Vec::new() };
    // Many files, few directories: a link in the place of a file is not followed.
    let mut known: HashMap<PathBuf, Option<String>> = HashMap::new();
    let mut found = Vec::new();
    for (index, (_, target)) in targets.iter().enumerate() {
        let Some(file) = target.file() else { continue };
        let path = root.unwrap_or(Path::new("/")).join(file.path.as_path());
        let Some(directory) = path.parent() else { continue };
        let judge = || match lies_in(directory, data_dir) {
            Ok(inside) => inside.then(|| "lies in the data directory, which is the store's alone".to_owned()),
            Err(error) => Some(format!("cannot be told from the data directory: {error}")),
        };
        if let Some(why) = known.entry(directory.to_owned()).or_insert_with(judge) {
            found.push((index, why.clone()));
        }
    }
    found
}
