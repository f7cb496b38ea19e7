//! A row as a month file has it: texts as numbers, and what questions look for in columns of its own.

use std::{hash::Hash, sync::Arc};

use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};
use serde::Deserialize;

use crate::engine::{
    access::{Access, Actor, Object, Outcome, Permission, Usage},
    ledger::{Content, EntryKind, Row},
    time::{EventTime, WallTime},
};

/// Texts, or objects, that a writer or reader remembers: 100,000. At the limit it forgets all of them.
const KNOWN_MAX: usize = 100_000;

/// Remembers something that was looked up. At the limit all else is forgotten.
pub(super) fn remember<K: Eq + Hash, V>(known: &mut HashMap<K, V>, key: K, value: V) {
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(key, value);
}

/// The kind of a use of a permission in its column.
pub(super) const USAGE_KIND: i64 = -1;

/// What stands in the columns of a row beside its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) at: i64,
    pub(super) kind: i64,
    pub(super) actor: Option<i64>,
    pub(super) behalf: Option<i64>,
    pub(super) object: Option<i64>,
    pub(super) source: Option<i64>,
    pub(super) permission: Option<i64>,
    pub(super) credential: Option<i64>,
}

/// What an object is told apart by: its resource, namespace, name, and what was done to it; 0 is none. Of months of
/// earlier versions nobody asks for the verb.
pub(super) type ObjectKey = [i64; 4];

/// Numbers for texts and objects.
#[derive(Debug)]
pub(super) struct Numbers {
    is_by_day: bool,
    texts: HashMap<Arc<str>, i64>,
    objects: HashMap<ObjectKey, i64>,
}

impl Numbers {
    /// Of a month; whether it is by day, and its objects have verbs.
    pub(super) fn new(is_by_day: bool) -> Numbers {
        Numbers { is_by_day, texts: HashMap::new(), objects: HashMap::new() }
    }

    fn text(&mut self, connection: &Connection, text: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(number) = self.texts.get(text) {
            return Ok(*number);
        }
        let number = if let Some(number) = find_text(connection, text)? {
            number
        } else {
            connection
                .prepare_cached("INSERT INTO text (text) VALUES (?1)")?
                .execute(params![&**text])?;
            connection.last_insert_rowid()
        };
        remember(&mut self.texts, Arc::clone(text), number);
        Ok(number)
    }

    fn object(&mut self, connection: &Connection, key: ObjectKey) -> rusqlite::Result<i64> {
        if let Some(number) = self.objects.get(&key) {
            return Ok(*number);
        }
        let number = if let Some(number) = find_object(connection, key, self.is_by_day)? {
            number
        } else {
            let sql = if self.is_by_day {
                "INSERT INTO object (resource, namespace, name, verb) VALUES (?1, ?2, ?3, ?4)"
            } else {
                "INSERT INTO object (resource, namespace, name) VALUES (?1, ?2, ?3)"
            };
            let columns = key.iter().take(if self.is_by_day { 4 } else { 3 });
            let columns = columns.map(|number| (*number != 0).then_some(*number));
            connection.prepare_cached(sql)?.execute(params_from_iter(columns))?;
            connection.last_insert_rowid()
        };
        remember(&mut self.objects, key, number);
        Ok(number)
    }
}

/// The number of a text, if it has one.
pub(super) fn find_text(connection: &Connection, text: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM text WHERE text = ?1")?
        .query_row(params![text], |row| row.get(0))
        .optional()
}

/// The number of an object, if it has one.
pub(super) fn find_object(
    connection: &Connection,
    key: ObjectKey,
    has_verbs: bool,
) -> rusqlite::Result<Option<i64>> {
    let sql = if has_verbs {
        "SELECT id FROM object WHERE resource = ?1 AND ifnull(namespace, 0) = ?2
         AND ifnull(name, 0) = ?3 AND ifnull(verb, 0) = ?4"
    } else {
        "SELECT id FROM object WHERE resource = ?1 AND ifnull(namespace, 0) = ?2
         AND ifnull(name, 0) = ?3"
    };
    let key = key.iter().take(if has_verbs { 4 } else { 3 });
    connection.prepare_cached(sql)?.query_row(params_from_iter(key), |row| row.get(0)).optional()
}

/// The kind of an entry in its column.
pub(super) const fn entry_kind(kind: EntryKind) -> i64 {
    kind as i64 + 1
}

/// What a row tells, as its column has it: 0 is an access, -1 a use of a permission.
pub(super) fn kind_of<T>(content: &Content<T>) -> i64 {
    match content {
        Content::Access(_) => 0,
        Content::Entry(entry) => entry_kind(entry.kind),
        Content::Usage(_) => USAGE_KIND,
    }
}

/// Writes a row.
pub(super) fn write(
    connection: &Connection,
    numbers: &mut Numbers,
    row: &Row,
) -> rusqlite::Result<()> {
    let (columns, body) = pack(connection, numbers, row)?;
    connection
        .prepare_cached(
            "INSERT INTO row (id, at, recorded, kind, actor, behalf, object, source, permission,
                credential, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            row.id.cast_signed(),
            columns.at,
            row.recorded.micros(),
            columns.kind,
            columns.actor,
            columns.behalf,
            columns.object,
            columns.source,
            columns.permission,
            columns.credential,
            body
        ])?;
    Ok(())
}

/// Its columns and its body.
fn pack(
    connection: &Connection,
    numbers: &mut Numbers,
    row: &Row,
) -> rusqlite::Result<(Columns, Vec<u8>)> {
    let mut columns =
        Columns { at: row.at().micros(), kind: kind_of(&row.content), ..Columns::default() };
    let mut content: Content<u32> = match &row.content {
        Content::Entry(entry) => Content::Entry(entry.clone()),
        Content::Access(access) => {
            columns_of(connection, numbers, access, &mut columns)?;
            let packed = numbered(connection, numbers, |to| (**access).clone().map(to))?;
            Content::Access(Box::new(packed))
        }
        Content::Usage(usage) => {
            columns_of_usage(connection, numbers, usage, &mut columns)?;
            let packed = numbered(connection, numbers, |to| (**usage).clone().map(to))?;
            Content::Usage(Box::new(packed))
        }
    };
    if numbers.is_by_day {
        set_time(&mut content, EventTime::from_micros(0));
    }
    let body = postcard::to_stdvec(&content)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    Ok((columns, body))
}

/// Says when an access or a use was: bodies that leave it to their column have 0.
pub(super) fn set_time<T>(content: &mut Content<T>, at: EventTime) {
    match content {
        Content::Access(access) => access.at = at,
        Content::Usage(usage) => usage.at = at,
        Content::Entry(_) => {}
    }
}

/// Something with numbers in the place of its texts.
fn numbered<T>(
    connection: &Connection,
    numbers: &mut Numbers,
    map: impl FnOnce(&mut dyn FnMut(Arc<str>) -> u32) -> T,
) -> rusqlite::Result<T> {
    let mut failure = None;
    let packed = map(&mut |text: Arc<str>| {
        let number = numbers.text(connection, &text).and_then(|number| {
            u32::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, number))
        });
        number.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            0
        })
    });
    failure.map_or(Ok(packed), Err)
}

fn columns_of(
    connection: &Connection,
    numbers: &mut Numbers,
    access: &Access,
    columns: &mut Columns,
) -> rusqlite::Result<()> {
    let mut number =
        |text: Option<&Arc<str>>| text.map(|text| numbers.text(connection, text)).transpose();
    columns.actor = number(access.actor.id.as_ref())?;
    columns.behalf = number(access.on_behalf_of.as_ref())?;
    columns.source = number(access.source_ip.as_ref())?;
    columns.credential = number(access.credential_id.as_ref())?;
    columns.permission = permission_number(connection, numbers, access.permission.as_ref())?;
    let of = (access.object.as_ref(), access.verb.as_ref());
    columns.object = object_number(connection, numbers, of)?;
    Ok(())
}

fn columns_of_usage(
    connection: &Connection,
    numbers: &mut Numbers,
    usage: &Usage,
    columns: &mut Columns,
) -> rusqlite::Result<()> {
    let mut number =
        |text: Option<&Arc<str>>| text.map(|text| numbers.text(connection, text)).transpose();
    columns.actor = number(usage.actor.id.as_ref())?;
    columns.behalf = number(usage.on_behalf_of.as_ref())?;
    columns.permission = permission_number(connection, numbers, usage.permission.as_ref())?;
    let of = (usage.object.as_ref(), Some(&usage.verb));
    columns.object = object_number(connection, numbers, of)?;
    Ok(())
}

fn permission_number(
    connection: &Connection,
    numbers: &mut Numbers,
    permission: Option<&Permission<Arc<str>>>,
) -> rusqlite::Result<Option<i64>> {
    permission.map(|one| numbers.text(connection, &Arc::from(one.name()))).transpose()
}

fn object_number(
    connection: &Connection,
    numbers: &mut Numbers,
    (object, verb): (Option<&Object<Arc<str>>>, Option<&Arc<str>>),
) -> rusqlite::Result<Option<i64>> {
    let Some(object) = object else { return Ok(None) };
    let verb = verb.filter(|_| numbers.is_by_day);
    let mut number = |text: Option<&Arc<str>>| match text {
        Some(text) => numbers.text(connection, text),
        None => Ok(0),
    };
    let key = [
        number(Some(&object.resource))?,
        number(object.namespace.as_ref())?,
        number(object.name.as_ref())?,
        number(verb)?,
    ];
    numbers.object(connection, key).map(Some)
}

/// Texts by their numbers, for reading.
#[derive(Debug, Default)]
pub(super) struct Texts {
    known: HashMap<u32, Arc<str>>,
}

impl Texts {
    /// A text by its number.
    pub(super) fn get(
        &mut self,
        connection: &Connection,
        number: u32,
    ) -> rusqlite::Result<Arc<str>> {
        if let Some(text) = self.known.get(&number) {
            return Ok(Arc::clone(text));
        }
        let text = text_of(connection, number)?;
        remember(&mut self.known, number, Arc::clone(&text));
        Ok(text)
    }
}

/// Looks a text up by its number.
pub(super) fn text_of(connection: &Connection, number: u32) -> rusqlite::Result<Arc<str>> {
    let mut select = connection.prepare_cached("SELECT text FROM text WHERE id = ?1")?;
    select.query_row(params![number], |row| row.get::<_, String>(0)).map(Arc::from)
}

/// What a body says, with numbers in the place of texts.
pub(super) fn decode(body: &[u8]) -> rusqlite::Result<Content<u32>> {
    let (content, rest) = postcard::take_from_bytes(body).map_err(broken)?;
    if rest.is_empty() { Ok(content) } else { Err(broken(postcard::Error::DeserializeBadEncoding)) }
}

/// The beginning of a body: what most filters look at.
#[derive(Debug, Deserialize)]
pub(super) enum Beginning {
    /// Of an access.
    Access(AccessBeginning),
    /// Of anything else nothing is asked.
    Entry,
    Usage,
}

/// The first fields of an access, in their order.
#[derive(Debug, Deserialize)]
pub(super) struct AccessBeginning {
    #[expect(dead_code, reason = "it stands before the others")]
    at: EventTime,
    pub(super) classes: Vec<u32>,
    pub(super) verb: Option<u32>,
    pub(super) outcome: Option<Outcome>,
    #[expect(dead_code, reason = "it stands before the others")]
    code: Option<u16>,
    pub(super) actor: Actor<u32>,
}

/// How a body begins.
pub(super) fn beginning(body: &[u8]) -> rusqlite::Result<Beginning> {
    postcard::take_from_bytes(body).map(|(beginning, _)| beginning).map_err(broken)
}

fn broken(error: postcard::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}

/// A row from its id, when it was recorded, and what its body says.
pub(super) fn unpack(
    connection: &Connection,
    texts: &mut Texts,
    id: i64,
    recorded: i64,
    content: Content<u32>,
) -> rusqlite::Result<Row> {
    let content = match content {
        Content::Entry(entry) => Content::Entry(entry),
        Content::Access(packed) => {
            let access = written_out(connection, texts, |to| packed.map(to))?;
            Content::Access(Box::new(access))
        }
        Content::Usage(packed) => {
            let usage = written_out(connection, texts, |to| packed.map(to))?;
            Content::Usage(Box::new(usage))
        }
    };
    Ok(Row { id: id.cast_unsigned(), recorded: WallTime::from_micros(recorded), content })
}

/// Something with its texts in the place of numbers.
pub(super) fn written_out<T>(
    connection: &Connection,
    texts: &mut Texts,
    map: impl FnOnce(&mut dyn FnMut(u32) -> Arc<str>) -> T,
) -> rusqlite::Result<T> {
    let mut failure = None;
    let written = map(&mut |number| {
        texts.get(connection, number).unwrap_or_else(|error| {
            failure.get_or_insert(error);
            Arc::from("")
        })
    });
    failure.map_or(Ok(written), Err)
}
