//! Scripts as text: blocks of command, input, `----` and output.

use std::time::Duration;

use tripline::engine::{
    duration::parse_duration,
    time::{EventTime, WallTime},
};

use crate::{event::Line, ways::Way};

/// The day of times that are written without one: a Monday.
pub(crate) const DAY: &str = "2026-01-05";

/// One script, of commands of some kind.
pub(crate) struct Script<C> {
    pub(crate) blocks: Vec<Block<C>>,
    /// Comments behind the last block.
    tail: Vec<String>,
    left_out: Vec<Way>,
}

/// One command with what it must print.
pub(crate) struct Block<C> {
    /// The line of the command, from 1.
    pub(crate) number: usize,
    /// Everything down to `----`, as it is written.
    head: Vec<String>,
    pub(crate) command: C,
    pub(crate) expected: Vec<String>,
}

/// What a rule set is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RulesUse {
    Start,
    Replace,
    Restart,
}

/// The value of an option of `rules`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    Time(Duration),
    Bytes(u64),
}

pub(crate) enum Command {
    Rules { purpose: RulesUse, options: Vec<(String, Setting)>, yaml: String },
    List { name: String, yaml: String },
    Schedules { yaml: String },
    Risk { yaml: String },
    Feed { lines: Vec<Line>, quiet: bool },
    Timeout { now: WallTime, quiet: bool },
    Clock(WallTime),
    Watermark,
    Alerts { evidence: bool, annotations: bool },
    Keys,
    Unavailable,
    Ready(Vec<i32>),
    Away(Vec<i32>),
    Flush,
}

pub(crate) type Result<T> = std::result::Result<T, String>;

/// Reads a command from its line, the lines below it, and the number of its line.
pub(crate) type ReadCommand<C> = fn(&str, &[String], usize) -> Result<C>;

impl<C> Script<C> {
    pub(crate) fn parse(text: &str, command: ReadCommand<C>) -> Result<Script<C>> {
        let mut script = Script { blocks: Vec::new(), tail: Vec::new(), left_out: Vec::new() };
        let mut head: Vec<String> = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            if let Some(way) = line.strip_prefix("# leave out ") {
                script.left_out.push(left_out(way).map_err(|text| at(index, &text))?);
            }
            if line != "----" {
                head.push(line.to_owned());
                continue;
            }
            let expected =
                lines.by_ref().map(|(_, line)| line.to_owned()).take_while(|line| !line.is_empty());
            let expected = expected.collect();
            let start = head
                .iter()
                .position(|line| !line.is_empty() && !line.starts_with('#'))
                .ok_or_else(|| at(index, "there is no command above"))?;
            let number = index - head.len() + start + 1;
            let command = command(&head[start], &head[start + 1..], number)
                .map_err(|text| at(number - 1, &text))?;
            script.blocks.push(Block {
                number,
                head: std::mem::take(&mut head),
                command,
                expected,
            });
        }
        if let Some(line) = head.iter().find(|line| !line.is_empty() && !line.starts_with('#')) {
            return Err(format!("`{line}` is not followed by `----`"));
        }
        script.tail = head;
        Ok(script)
    }

    pub(crate) fn leaves_out(&self, way: Way) -> bool {
        self.left_out.contains(&way)
    }

    /// The script with this output in it.
    pub(crate) fn with_output(&self, printed: &[Vec<String>]) -> String {
        let mut text = String::new();
        for (block, lines) in self.blocks.iter().zip(printed) {
            for line in block.head.iter().map(String::as_str).chain(["----"]) {
                text += &format!("{line}\n");
            }
            for line in lines {
                text += &format!("{line}\n");
            }
            text.push('\n');
        }
        for line in &self.tail {
            text += &format!("{line}\n");
        }
        format!("{}\n", text.trim_end())
    }
}

fn at(index: usize, text: &str) -> String {
    format!("line {}: {text}", index + 1)
}

/// `WAY: reason`
fn left_out(text: &str) -> Result<Way> {
    let (name, reason) = text.split_once(':').ok_or("a reason follows behind a colon")?;
    if reason.trim().is_empty() {
        return Err("a way is left out for a reason".to_owned());
    }
    let way = Way::OTHERS.into_iter().find(|way| way.name() == name);
    way.ok_or_else(|| format!("there is no way `{name}`"))
}

/// The lines below a command, without what they are indented by.
pub(crate) fn unindented(input: &[String]) -> Result<Vec<&str>> {
    if let Some(line) = input.iter().find(|line| !line.is_empty() && !line.starts_with("  ")) {
        return Err(format!("`{line}` is neither indented nor `----`"));
    }
    Ok(input.iter().map(|line| line.get(2..).unwrap_or("")).collect())
}

/// A command of the scripts for the whole engine.
pub(crate) fn command(line: &str, input: &[String], number: usize) -> Result<Command> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let lines = unindented(input)?;
    let input = || lines.iter().copied();
    let yaml = || input().flat_map(|line| [line, "\n"]).collect::<String>();
    Ok(match (name, words.as_slice()) {
        ("rules", options) => Command::Rules {
            purpose: RulesUse::Start,
            options: options.iter().map(|option| setting(option)).collect::<Result<_>>()?,
            yaml: with_events(&yaml()),
        },
        ("replace" | "restart", ["rules"]) => Command::Rules {
            purpose: if name == "replace" { RulesUse::Replace } else { RulesUse::Restart },
            options: Vec::new(),
            yaml: with_events(&yaml()),
        },
        ("list", [name]) => Command::List { name: (*name).to_owned(), yaml: yaml() },
        ("schedules", []) => Command::Schedules { yaml: yaml() },
        ("risk", []) => Command::Risk { yaml: yaml() },
        ("feed", [] | ["quietly"]) => Command::Feed {
            quiet: !words.is_empty(),
            lines: input()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(index, line)| Line::parse(line, number + 1 + index))
                .collect::<Result<_>>()?,
        },
        ("timeout", [text, how @ ..]) if matches!(how, [] | ["quietly"]) => {
            Command::Timeout { now: time(text)?.as_wall(), quiet: !how.is_empty() }
        }
        ("clock", [text]) => Command::Clock(time(text)?.as_wall()),
        ("watermark", []) => Command::Watermark,
        ("alerts", shown) => Command::Alerts {
            evidence: shown.contains(&"evidence"),
            annotations: shown.contains(&"annotations"),
        },
        ("keys", []) => Command::Keys,
        ("unavailable", []) => Command::Unavailable,
        ("away", [list]) => Command::Away(partitions(list)?),
        ("ready", []) => Command::Ready(Vec::new()),
        ("ready", [list]) => Command::Ready(partitions(list)?),
        ("flush", []) => Command::Flush,
        _ => return Err(format!("there is no command `{line}`")),
    })
}

/// Numbers between commas.
fn partitions(list: &str) -> Result<Vec<i32>> {
    let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no partition"));
    list.split(',').map(number).collect()
}

fn setting(option: &str) -> Result<(String, Setting)> {
    let (name, value) = option.split_once('=').ok_or("options are written `name=30s`")?;
    let setting = match value.strip_suffix("MiB").and_then(|number| number.parse::<u64>().ok()) {
        Some(number) => Setting::Bytes(number << 20),
        None => Setting::Time(duration(value)?),
    };
    Ok((name.to_owned(), setting))
}

pub(crate) fn duration(text: &str) -> Result<Duration> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is no duration"))
}

/// `10:00:05`, or with its day: `2026-03-29T01:59:59`.
pub(crate) fn time(text: &str) -> Result<EventTime> {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{DAY}T{text}") };
    EventTime::parse(&format!("{whole}Z")).ok_or_else(|| format!("`{text}` is no time"))
}

/// Writes out `event NAME: {…}`.
fn with_events(yaml: &str) -> String {
    let line = |line: &str| {
        let Some((name, selection)) =
            line.strip_prefix("event ").and_then(|rest| rest.split_once(": "))
        else {
            return format!("{line}\n");
        };
        format!(
            "title: {name}\nname: {name}\nlogsource: {{product: kubernetes, service: audit}}\n\
             detection: {{selection: {selection}, condition: selection}}\n---\n"
        )
    };
    yaml.lines().map(line).collect()
}
