//! The ZIP archive that every office document is.

use std::{
    collections::HashMap,
    io::{self, BufReader, Cursor, Read},
};

use zip::{ZipArchive, read::ZipFile, result::ZipError};

use super::xml::{Node, Xml};

/// Bytes decompressed of one document, over all its entries.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Entries read of one document, an entry that is read twice counted twice.
const MOST_READ: usize = 2_000;
/// Entries that an archive may list. Each costs memory before anything is read.
const MOST_LISTED: usize = 20_000;
/// Relations read of one part.
const MOST_RELATIONS: usize = 10_000;

/// An archive and how much of it may still be read.
pub struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Entries by their names in lower case with slashes: some writers are careless about both.
    names: HashMap<String, usize>,
    bytes_left: u64,
    reads_left: usize,
}

/// An entry, decompressed while it is read.
pub type Entry<'p, 'a> = BufReader<Metered<'p, 'a>>;

/// Where a part of a document refers to.
pub struct Relation {
    /// By which the part calls it.
    pub id: String,
    /// A URL; the last segment tells the relations of one document apart.
    pub kind: String,
    /// The path of the part in the archive.
    pub target: String,
}

impl<'a> Package<'a> {
    /// Lists the archive. An error says what the file is instead.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
            return Err("the file is protected by a password, or of the binary format before 2007: save it anew without a password".to_owned());
        }
        if !bytes.starts_with(b"PK") {
            return Err("the file is no office document: it does not begin like one".to_owned());
        }
        // Of an archive within the archive, uncompressed, the entries are counted as well, hence the wide limit.
        if bytes.windows(4).filter(|window| window == b"PK\x01\x02").count() > MOST_LISTED {
            return Err(format!("the document holds more than {MOST_LISTED} parts"));
        }
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        let mut names = HashMap::with_capacity(archive.len());
        for index in 0..archive.len() {
            if let Some(Ok(name)) = archive.name_for_index(index) {
                names.insert(normal(&name), index);
            }
        }
        Ok(Self { archive, names, bytes_left: MOST_BYTES, reads_left: MOST_READ })
    }

    /// A part, to be read as XML; none where the archive has no such part.
    pub fn xml(&mut self, path: &str) -> Result<Option<Xml<Entry<'_, 'a>>>, String> {
        let Some(index) = self.names.get(&normal(path)).copied() else { return Ok(None) };
        self.reads_left =
            self.reads_left.checked_sub(1).ok_or_else(|| format!("more than {MOST_READ} parts of the document would have to be read"))?;
        let entry = self.archive.by_index(index).map_err(broken)?;
        Ok(Some(Xml::new(BufReader::new(Metered { entry, left: &mut self.bytes_left }))))
    }

    /// What a part refers to within the archive, in the order of writing; the empty path stands for the archive itself.
    pub fn relations(&mut self, part: &str) -> Result<Vec<Relation>, String> {
        let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
        let Some(mut xml) = self.xml(&format!("{folder}/_rels/{file}.rels"))? else { return Ok(Vec::new()) };
        let mut relations = Vec::new();
        while let Some(node) = xml.next()? {
            if let Node::Start(element) = node
                && element.name == "Relationship"
                && element.get("TargetMode") != Some("External")
                && let (Some(id), Some(kind), Some(target)) = (element.get("Id"), element.get("Type"), element.get("Target"))
            {
                relations.push(Relation { id: id.to_owned(), kind: kind.to_owned(), target: resolve(folder, target) });
                if relations.len() == MOST_RELATIONS {
                    break;
                }
            }
        }
        Ok(relations)
    }

    /// The part that the document begins with.
    pub fn main(&mut self) -> Result<String, String> {
        let main = self.relations("")?.into_iter().find(|relation| relation.is("officeDocument"));
        main.map(|relation| relation.target).ok_or_else(|| "the file is no office document: no part of it is said to be its main one".to_owned())
    }
}

impl Relation {
    /// Whether it is of the kind that ends like this.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.rsplit('/').next() == Some(kind)
    }
}

/// The path of a target as a part in the folder writes it.
fn resolve(folder: &str, target: &str) -> String {
    let start = if target.starts_with('/') { "" } else { folder };
    let mut path: Vec<&str> = Vec::new();
    for segment in start.split('/').chain(target.split('/')) {
        match segment {
            "" | "." => {}
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    path.join("/")
}

fn normal(name: &str) -> String {
    name.replace('\\', "/").trim_start_matches('/').to_lowercase()
}

fn broken(error: ZipError) -> String {
    match error {
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => "the document is protected by a password".to_owned(),
        error => format!("the document is broken: {error}"),
    }
}

/// A reader that stops with an error when the document has been decompressed to more than is allowed.
pub struct Metered<'p, 'a> {
    entry: ZipFile<'p, Cursor<&'a [u8]>>,
    left: &'p mut u64,
}

impl Read for Metered<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.entry.read(buffer)?;
        *self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(format!("the document is too large: decompressed, it has more than {} MB", MOST_BYTES >> 20)))?;
        Ok(read)
    }
}
