//! A report as JSON: one document, in the order of the report.

use serde_json::{Value, json};

use super::model::{Cell, Report, Table};

/// The report. A cell that is no number and no text is `{"absent": "none" | "not observed" | "not applicable"}`;
/// one to be filled in by hand is `null`.
pub fn render(report: &Report) -> String {
    let sections: Vec<Value> = report
        .sections
        .iter()
        .map(|section| {
            json!({
                "id": section.id,
                "title": section.title,
                "notes": section.notes,
                "tables": section.tables.iter().map(table).collect::<Vec<Value>>(),
            })
        })
        .collect();
    let facts: serde_json::Map<String, Value> =
        report.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let document = json!({
        "report": report.kind.as_str(),
        "title": report.title,
        "facts": facts,
        "warnings": report.warnings,
        "sections": sections,
        "limits": report.limits,
    });
    format!("{document:#}\n")
}

fn table(table: &Table) -> Value {
    let row = |cells: &Vec<Cell>| -> Value {
        let pairs = table.columns.iter().zip(cells);
        Value::Object(pairs.map(|(name, value)| ((*name).to_owned(), cell(value))).collect())
    };
    json!({
        "columns": table.columns,
        "rows": table.rows.iter().map(row).collect::<Vec<Value>>(),
        "left_out": table.left_out,
        "empty": if table.rows.is_empty() { cell(&table.empty) } else { Value::Null },
    })
}

fn cell(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) => json!(text),
        Cell::Number(number, query) if query.is_empty() => json!({ "number": number }),
        Cell::Number(number, query) => json!({ "number": number, "query": query }),
        Cell::Blank => Value::Null,
        Cell::Nothing | Cell::NotObserved | Cell::NotApplicable => json!({ "absent": cell.word() }),
    }
}
