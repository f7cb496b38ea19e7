//! Whether a row is filed under the words that it has: its columns, by which questions find it, against its body.

use hashbrown::HashMap;
use rusqlite::Connection;

use super::pack::{
    Columns, ObjectKey, Texts, find_object, find_text, kind_of, remember, written_out,
};
use crate::engine::{
    access::{Object, Permission},
    ledger::Content,
};

/// The columns of a row, as a month file has them.
pub(super) fn stored(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Columns> {
    Ok(Columns {
        at: row.get(first)?,
        kind: row.get(first + 1)?,
        actor: row.get(first + 2)?,
        behalf: row.get(first + 3)?,
        object: row.get(first + 4)?,
        source: row.get(first + 5)?,
        permission: row.get(first + 6)?,
        credential: row.get(first + 7)?,
    })
}

/// What of a body has a column.
struct Words<'p> {
    actor: Option<u32>,
    behalf: Option<u32>,
    source: Option<u32>,
    credential: Option<u32>,
    object: Option<&'p Object<u32>>,
    verb: Option<u32>,
    permission: Option<&'p Permission<u32>>,
}

/// Knows under which numbers questions look for what bodies have. A body has numbers of texts itself; that a question
/// finds the same number by the text is looked up once for each, as somebody may have added the text a second time.
#[derive(Debug)]
pub(super) struct Filed {
    has_verbs: bool,
    texts: HashMap<u32, i64>,
    objects: HashMap<ObjectKey, i64>,
    permissions: HashMap<Permission<u32>, i64>,
}

impl Filed {
    /// In a month; whether its objects have verbs.
    pub(super) fn new(has_verbs: bool) -> Filed {
        let (texts, objects, permissions) = (HashMap::new(), HashMap::new(), HashMap::new());
        Filed { has_verbs, texts, objects, permissions }
    }

    /// The columns that a row should have, but for its time. Cost: some look-ups in memory, and one in the file for what
    /// is seen first.
    ///
    /// # Errors
    /// The file lacks a text or an object that the row has.
    pub(super) fn columns(
        &mut self,
        connection: &Connection,
        known: &mut Texts,
        packed: &Content<u32>,
    ) -> rusqlite::Result<Columns> {
        let mut columns = Columns { kind: kind_of(packed), ..Columns::default() };
        let Some(words) = words_of(packed) else { return Ok(columns) };
        let mut number =
            |text: Option<u32>| text.map(|number| self.text(connection, known, number)).transpose();
        columns.actor = number(words.actor)?;
        columns.behalf = number(words.behalf)?;
        columns.source = number(words.source)?;
        columns.credential = number(words.credential)?;
        if let Some(object) = words.object {
            columns.object = Some(self.object(connection, known, (object, words.verb))?);
        }
        if let Some(permission) = words.permission {
            columns.permission = Some(self.permission(connection, known, permission)?);
        }
        Ok(columns)
    }

    fn text(
        &mut self,
        connection: &Connection,
        known: &mut Texts,
        number: u32,
    ) -> rusqlite::Result<i64> {
        if let Some(found) = self.texts.get(&number) {
            return Ok(*found);
        }
        let found = there(find_text(connection, &known.get(connection, number)?)?)?;
        remember(&mut self.texts, number, found);
        Ok(found)
    }

    fn object(
        &mut self,
        connection: &Connection,
        known: &mut Texts,
        (object, verb): (&Object<u32>, Option<u32>),
    ) -> rusqlite::Result<i64> {
        let verb = verb.filter(|_| self.has_verbs);
        let mut number = |text: Option<u32>| match text {
            Some(number) => self.text(connection, known, number),
            None => Ok(0),
        };
        let key = [
            number(Some(object.resource))?,
            number(object.namespace)?,
            number(object.name)?,
            number(verb)?,
        ];
        if let Some(found) = self.objects.get(&key) {
            return Ok(*found);
        }
        let found = there(find_object(connection, key, self.has_verbs)?)?;
        remember(&mut self.objects, key, found);
        Ok(found)
    }

    fn permission(
        &mut self,
        connection: &Connection,
        known: &mut Texts,
        permission: &Permission<u32>,
    ) -> rusqlite::Result<i64> {
        if let Some(found) = self.permissions.get(permission) {
            return Ok(*found);
        }
        let written = written_out(connection, known, |to| permission.clone().map(to))?;
        let found = there(find_text(connection, &written.name())?)?;
        remember(&mut self.permissions, permission.clone(), found);
        Ok(found)
    }
}

fn words_of(packed: &Content<u32>) -> Option<Words<'_>> {
    match packed {
        Content::Access(access) => Some(Words {
            actor: access.actor.id,
            behalf: access.on_behalf_of,
            source: access.source_ip,
            credential: access.credential_id,
            object: access.object.as_ref(),
            verb: access.verb,
            permission: access.permission.as_ref(),
        }),
        Content::Usage(usage) => Some(Words {
            actor: usage.actor.id,
            behalf: usage.on_behalf_of,
            source: None,
            credential: None,
            object: usage.object.as_ref(),
            verb: Some(usage.verb),
            permission: usage.permission.as_ref(),
        }),
        Content::Entry(_) => None,
    }
}

fn there(number: Option<i64>) -> rusqlite::Result<i64> {
    number.ok_or(rusqlite::Error::QueryReturnedNoRows)
}
