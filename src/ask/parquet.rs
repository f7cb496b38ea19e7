//! Rows of the ledger as a Parquet file: the columns of the CSV, each with its type.
//!
//! Rows are gathered by column and written in groups, so that memory depends on a group and not on the
//! ledger. An empty cell is null.

use std::{io::Write, sync::Arc};

use ::parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DataType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::Type,
};
use jiff::tz::TimeZone;

use super::table::{COLUMNS, cells};
use crate::engine::ledger::Row;

/// Rows of a group: 65,536.
const GROUP_ROWS_MAX: usize = 1 << 16;

/// Bytes of the texts of a group: 32 MiB. It ends with the row that reaches them.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// The column of times: microseconds since 1970, UTC. No row is without one.
const TIME: usize = 0;

/// The column of how many requests a row stands for.
const COUNT: usize = 6;

/// Writes rows, group by group.
pub struct ParquetRows<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    times: Column<Int64Type>,
    counts: Column<Int64Type>,
    /// The others, in their order.
    texts: Vec<Column<ByteArrayType>>,
    bytes: usize,
}

/// Values of a column, and for each row whether it has one.
struct Column<T: DataType> {
    values: Vec<T::T>,
    levels: Vec<i16>,
}

impl<T: DataType> Column<T> {
    const fn new() -> Column<T> {
        Column { values: Vec::new(), levels: Vec::new() }
    }

    fn push(&mut self, value: Option<T::T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }
}

impl<W: Write + Send> ParquetRows<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(out: W) -> Result<ParquetRows<W>, ParquetError> {
        let level = ZstdLevel::try_new(3)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level));
        let writer = SerializedFileWriter::new(out, schema()?, Arc::new(properties.build()))?;
        let texts = (0..COLUMNS.len() - 2).map(|_| Column::new()).collect();
        Ok(ParquetRows { writer, times: Column::new(), counts: Column::new(), texts, bytes: 0 })
    }

    /// Takes a row.
    ///
    /// # Errors
    /// If its group is full, and cannot be written.
    pub fn push(&mut self, row: &Row) -> Result<(), ParquetError> {
        self.times.push(Some(row.at().micros()));
        let count = row.access().map(|access| i64::try_from(access.count()).unwrap_or(i64::MAX));
        self.counts.push(count);
        let cells = cells(row, &TimeZone::UTC).into_iter().enumerate();
        let texts = cells.filter(|(number, _)| !matches!(*number, TIME | COUNT));
        for ((_, text), column) in texts.zip(&mut self.texts) {
            self.bytes += text.len();
            column.push((!text.is_empty()).then(|| ByteArray::from(text.into_bytes())));
        }
        if self.times.levels.len() >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.end_group()?;
        }
        Ok(())
    }

    /// Ends the file: without it, it cannot be read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<(), ParquetError> {
        self.end_group()?;
        self.writer.close().map(drop)
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        if self.times.levels.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        let mut texts = self.texts.iter_mut();
        for number in 0..COLUMNS.len() {
            match number {
                TIME => write(&mut group, &mut self.times, false)?,
                COUNT => write(&mut group, &mut self.counts, true)?,
                _ => texts.next().map_or(Ok(()), |texts| write(&mut group, texts, true))?,
            }
        }
        group.close()?;
        self.bytes = 0;
        Ok(())
    }
}

/// Writes a column of a group, and empties it.
fn write<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: &mut Column<T>,
    is_optional: bool,
) -> Result<(), ParquetError> {
    let Some(mut out) = group.next_column()? else { return Ok(()) };
    let levels = is_optional.then_some(column.levels.as_slice());
    out.typed::<T>().write_batch(column.values.as_slice(), levels, None)?;
    out.close()?;
    column.values.clear();
    column.levels.clear();
    Ok(())
}

/// The columns by name and type.
fn schema() -> Result<Arc<Type>, ParquetError> {
    let fields = COLUMNS.iter().enumerate().map(|(number, name)| {
        let (physical, logical, repetition) = match number {
            TIME => {
                let time = LogicalType::timestamp(true, TimeUnit::MICROS);
                (Physical::INT64, Some(time), Repetition::REQUIRED)
            }
            COUNT => (Physical::INT64, None, Repetition::OPTIONAL),
            _ => (Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
        };
        let field = Type::primitive_type_builder(name, physical);
        field.with_logical_type(logical).with_repetition(repetition).build().map(Arc::new)
    });
    let fields: Vec<Arc<Type>> = fields.collect::<Result<_, ParquetError>>()?;
    Type::group_type_builder("ledger").with_fields(fields).build().map(Arc::new)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the file is read again")]
mod tests {
    use ::parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::{Field, RowAccessor as _},
    };

    use super::*;
    use crate::{
        archive::{Archive, Limits, Reader},
        engine::{
            detector::Detector,
            diagnostic::SourceText,
            dispatch::DispatchPlan,
            ledger::{Content, Entry, EntryKind},
            member::Member,
            record::{PartitionName, RecordBatch},
            rule::{LoadOptions, RuleSources, load},
            settings::EngineSettings,
            time::EventTime,
        },
    };

    const RULE: &str = "
title: Secret read
id: 6f1f2c55-58f1-4a0e-8a51-2b7d4c1f8a01
name: secret_read
logsource: {product: kubernetes, service: audit}
detection:
  selection: {objectRef.resource: secrets}
  condition: selection
tripline: {record: secret}
";

    /// Rows of each kind: what an engine records of two requests, and an entry with odd characters.
    fn rows() -> Vec<Arc<Row>> {
        let sources = RuleSources {
            rules: vec![SourceText::new("rules.yaml", RULE)],
            ..RuleSources::default()
        };
        let loaded = load(&sources, &LoadOptions::default());
        let rules = Arc::new(loaded.rules.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics)));
        let settings = EngineSettings::default();
        let partition = Arc::new(PartitionName::new("audit", 0));
        let mut member =
            Member::new(Arc::clone(&rules), settings.clone(), &DispatchPlan::default());
        let start = EventTime::parse("2026-11-29T12:00:00Z").unwrap().as_wall();
        member.handle_ready(start, &[Arc::clone(&partition)]);
        let mut batch = RecordBatch::default();
        for (offset, user) in [(0, "anna"), (1, "bob \\u0022 \\n,")] {
            let event = format!(
                r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{offset}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/db","verb":"get","user":{{"username":"{user}"}},"sourceIPs":["10.0.0.1"],"objectRef":{{"resource":"secrets","namespace":"shop","name":"db","apiVersion":"v1"}},"responseStatus":{{"code":200}},"annotations":{{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"a/shop\" of Role \"r\" to User \"u\""}},"requestReceivedTimestamp":"2026-11-29T12:00:0{offset}.000001Z","stageTimestamp":"2026-11-29T12:00:01.000002Z"}}"#
            );
            batch.push(&partition, offset, None, Some(event.as_bytes()));
        }
        let found = Detector::new(Arc::clone(&rules), 0, &settings).detect(start, &batch);
        member.handle_batch(start, &found);
        let mut rows: Vec<Arc<Row>> = Vec::new();
        while let Some(checkpoint) = member.checkpoint().filter(|found| !found.rows.is_empty()) {
            rows.extend(checkpoint.rows.iter().cloned());
            member.checkpoint_durable();
            member.handle_archived(rows.len() as u64);
        }
        let entry = Entry::new(EntryKind::Comment, "alert", "done").detail("“x”\n\"y\", z");
        let id = rows.len() as u64 + 1;
        let content = Content::Entry(Box::new(entry));
        rows.push(Arc::new(Row { id, recorded: start, content }));
        rows
    }

    #[test]
    fn what_is_read_back_is_what_the_ledger_says() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { free_min: 0, size_max: u64::MAX, months: 13 };
        let rows = rows();
        assert!(rows.iter().filter(|row| row.access().is_some()).count() == 2, "{rows:?}");
        Archive::new(directory.path(), limits).append(&rows).unwrap();
        let reader = Reader::open(directory.path(), Some(directory.path())).unwrap();
        let path = directory.path().join("rows.parquet");
        let mut written = ParquetRows::new(std::fs::File::create(&path).unwrap()).unwrap();
        let mut lines: Vec<serde_json::Value> = Vec::new();
        let mut tables: Vec<Vec<String>> = Vec::new();
        let each = reader.each(None, |row| {
            written.push(row).unwrap();
            if row.id.is_multiple_of(2) {
                // As if the group were full.
                written.end_group().unwrap();
            }
            lines.push(serde_json::from_str(&row.line()).unwrap());
            tables.push(cells(row, &TimeZone::UTC));
            true
        });
        each.unwrap();
        written.finish().unwrap();

        let file = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert!(file.num_row_groups() > 1);
        let time = file.metadata().file_metadata().schema_descr().column(TIME);
        let micros = LogicalType::timestamp(true, TimeUnit::MICROS);
        assert_eq!(time.logical_type_ref(), Some(&micros));
        let read: Vec<_> = file.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!((read.len(), lines.len()), (rows.len(), rows.len()));
        for ((read, line), table) in read.iter().zip(&lines).zip(&tables) {
            let at = line["at"].as_str().or(line["recorded"].as_str()).unwrap();
            let at = EventTime::parse(at).unwrap();
            assert_eq!(read.get_timestamp_micros(TIME).unwrap(), at.micros(), "{line}");
            for (number, (name, field)) in read.get_column_iter().enumerate() {
                assert_eq!(name, COLUMNS[number]);
                let expected = match number {
                    TIME => continue,
                    COUNT => line["count"].as_i64().map_or(Field::Null, Field::Long),
                    _ if table[number].is_empty() => Field::Null,
                    _ => Field::Str(table[number].clone()),
                };
                assert_eq!(*field, expected, "{name} of {line}");
            }
        }
    }
}
