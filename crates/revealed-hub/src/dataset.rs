//! Data sets by hub id: the files of a split, from the cache or fetched.

use std::fs;
use std::path::PathBuf;

use crate::cache::{Snapshot, find};
use crate::card::{Configuration, from_readme, from_yaml};
use crate::client::{Client, Listing};
use crate::error::HubError;
use crate::glob::base;
use crate::hub::{Hub, Missing};
use crate::layout::choose;
use crate::repository::{Kind, Repository};

const README: &str = "README.md";
/// Metadata in a file of its own; its keys replace those of the README.
const METADATA: &str = ".huggingface.yaml";

/// Where a data set's files come from.
enum Source {
    Hub(Box<Client>),
    /// The cache alone, because of what is said.
    Cache(String),
}

impl Hub {
    /// The files of a data set's split, in the order in which they are read. The hub is asked for
    /// the list of files; offline, or where it cannot be reached, the cache has to hold the split.
    ///
    /// `revision` is a branch, a tag or a commit (`id@revision` names it too); `config` is a
    /// configuration, by default the only one or the one that the data set calls its default;
    /// `split` is by default `train`.
    ///
    /// # Errors
    /// When the data set, the configuration, the split or one of its files is not there, or a file
    /// has a format that is not read.
    pub fn dataset(
        &self,
        id: &str,
        revision: Option<&str>,
        config: Option<&str>,
        split: Option<&str>,
    ) -> Result<Vec<PathBuf>, HubError> {
        let mut repository = Repository::parse(id, Kind::Dataset)?;
        if let Some(revision) = revision {
            repository = repository.at(revision)?;
        }
        let (listing, source) = self.list(&repository)?;
        let script = format!("{}.py", repository.short_name());
        if listing.files.contains(&script) {
            return Err(repository.content(format!(
                "the data set is made by a loading script ({script}), which is not run; the hub may hold its rows as Parquet files at the revision refs/convert/parquet"
            )));
        }
        let snapshot = Snapshot::of(&self.settings.cache, &repository, &listing.commit);
        let take = |name: &str| self.take(&repository, &snapshot, &source, name);
        let configurations = configurations(&repository, &listing, &take)?;
        let chosen = choose(&listing.files, &configurations, config, split)
            .map_err(|reason| repository.content(reason))?;
        if let Source::Cache(_) = &source
            && let Some(name) = absent_shard(&chosen)
        {
            return Err(self.incomplete(&repository, &snapshot, &source, &name));
        }
        let paths = chosen.iter().map(|name| take(name)).collect::<Result<Vec<_>, _>>()?;
        if let Source::Hub(_) = source {
            snapshot.record_revision(&repository.revision)?;
        }
        Ok(paths)
    }

    fn list(&self, repository: &Repository) -> Result<(Listing, Source), HubError> {
        let cached = find(&self.settings.cache, repository);
        let why = if self.settings.datasets_offline {
            None
        } else {
            let client = Client::new(&self.settings)?;
            match client.list(repository) {
                Ok(listing) => return Ok((listing, Source::Hub(Box::new(client)))),
                Err(failure) if !failure.answered => Some(failure.reason),
                Err(failure) => {
                    let missing = cached.err().unwrap_or_else(|| "has a snapshot".into());
                    return Err(self.unresolved(repository, missing, failure.reason));
                }
            }
        };
        match (cached, why) {
            (Ok(snapshot), why) => {
                let listed = snapshot.files()?;
                let files = [listed.files, listed.broken].concat();
                let why = why.unwrap_or_else(|| "offline mode is on".into());
                Ok((Listing { commit: snapshot.commit, files: sorted(files) }, Source::Cache(why)))
            }
            (Err(missing), Some(reason)) => Err(self.unresolved(repository, missing, reason)),
            (Err(missing), None) => Err(self.offline(repository, missing)),
        }
    }

    /// A file of the snapshot.
    fn take(
        &self,
        repository: &Repository,
        snapshot: &Snapshot,
        source: &Source,
        name: &str,
    ) -> Result<PathBuf, HubError> {
        match source {
            Source::Hub(client) => client.file(repository, snapshot, name).map_err(|failure| {
                let missing = format!("has no {name} in {}", snapshot.folder.display());
                Missing::Hub(failure).into_error(self, repository, missing)
            }),
            Source::Cache(_) => snapshot
                .file(name)
                .ok_or_else(|| self.incomplete(repository, snapshot, source, name)),
        }
    }

    fn incomplete(
        &self,
        repository: &Repository,
        snapshot: &Snapshot,
        source: &Source,
        name: &str,
    ) -> HubError {
        let missing =
            format!("has an incomplete snapshot {} without {name}", snapshot.folder.display());
        match source {
            Source::Cache(why) if !self.settings.datasets_offline => {
                self.unresolved(repository, missing, why.clone())
            }
            _ => self.offline(repository, missing),
        }
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

/// The configurations of the metadata file, else of the README.
fn configurations(
    repository: &Repository,
    listing: &Listing,
    take: &dyn Fn(&str) -> Result<PathBuf, HubError>,
) -> Result<Vec<Configuration>, HubError> {
    type Read = fn(&str) -> Result<Vec<Configuration>, String>;
    let readers: [(&str, Read); 2] = [(METADATA, from_yaml), (README, from_readme)];
    for (name, read) in readers {
        if !listing.files.iter().any(|file| file == name) {
            continue;
        }
        let path = take(name)?;
        let text = fs::read_to_string(&path).map_err(HubError::io(&path))?;
        let found = read(&text).map_err(|reason| {
            repository.content(format!("the metadata in {name} cannot be read: {reason}"))
        })?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The first file that names like `train-00000-of-00002.parquet` say there is, and that is not
/// among them.
fn absent_shard(files: &[String]) -> Option<String> {
    let shard = regex::Regex::new(r"\A(.*)-([0-9]{5})-of-([0-9]{5})(.*)\z").ok()?;
    for file in files {
        let Some(parts) = shard.captures(base(file)) else { continue };
        let folder = &file[..file.len() - base(file).len()];
        let count: usize = parts[3].parse().ok()?;
        let name = |i: usize| format!("{folder}{}-{i:05}-of-{}{}", &parts[1], &parts[3], &parts[4]);
        if let Some(absent) = (0..count).map(name).find(|name| !files.contains(name)) {
            return Some(absent);
        }
    }
    None
}
