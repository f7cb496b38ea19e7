//! Tables that are wider than a terminal: their columns go on in further lines, further in.

use super::table::GAP;

/// How far further lines stand in.
const INDENT: &str = "    ";

/// A text that begins with a table as [`super::table::table`] makes it, on a terminal of so many columns. If it does not
/// fit, each of its lines becomes several, with the same columns in each first one, and so on. Nothing is cut: a cell that
/// is wider than the terminal is broken at blanks, and a word that is, an id say, stays whole.
pub fn fold(text: &str, width: usize) -> String {
    let lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let Some(head) = lines.first().filter(|_| lines.iter().any(|line| line.len() > width)) else {
        return text.to_owned();
    };
    let starts = starts_of(head);
    let (table, notes): (Vec<_>, Vec<_>) = lines.iter().partition(|line| is_of(line, &starts));
    let groups = groups(&starts, &table, width);
    let mut folded = String::new();
    for line in table {
        for (number, (from, to)) in groups.iter().enumerate() {
            let cells: String = line.iter().take(*to).skip(*from).collect();
            if !cells.trim().is_empty() {
                let indent = if number == 0 { "" } else { INDENT };
                push_wrapped(&mut folded, indent, cells.trim_end(), width);
            }
        }
    }
    for note in notes {
        push_wrapped(&mut folded, "", &note.iter().collect::<String>(), width);
    }
    folded
}

/// Lines that are no table, on a terminal of so many columns: what does not fit goes on further in.
pub fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let words = line.trim_start();
        let own = line.get(..line.len() - words.len()).unwrap_or_default();
        if line.chars().count() <= width {
            wrapped.push_str(&format!("{line}\n"));
            continue;
        }
        let mut lines = String::new();
        push_wrapped(&mut lines, &format!("{INDENT}{own}"), words, width);
        wrapped.push_str(lines.strip_prefix(INDENT).unwrap_or(&lines));
    }
    wrapped
}

/// Where columns begin: behind the gaps of the line of their names.
fn starts_of(head: &[char]) -> Vec<usize> {
    let (mut starts, mut blanks) = (Vec::new(), GAP.len());
    for (at, c) in head.iter().enumerate() {
        if *c == ' ' {
            blanks += 1;
            continue;
        }
        if blanks >= GAP.len() {
            starts.push(at);
        }
        blanks = 0;
    }
    starts
}

/// Whether a line has a gap before each column that it reaches.
fn is_of(line: &[char], starts: &[usize]) -> bool {
    starts.iter().skip(1).all(|at| line.iter().take(*at).skip(at - GAP.len()).all(|c| *c == ' '))
}

/// From where to where the columns stand of each line that one becomes: as many as fit.
fn groups(starts: &[usize], table: &[&Vec<char>], width: usize) -> Vec<(usize, usize)> {
    let longest = table.iter().map(|line| line.len()).max().unwrap_or(0);
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (number, from) in starts.iter().enumerate() {
        let to = starts.get(number + 1).copied().unwrap_or(longest + GAP.len());
        let room = if groups.len() < 2 { width } else { width.saturating_sub(INDENT.len()) };
        match groups.last_mut() {
            Some((begin, end)) if to - GAP.len() - *begin <= room => *end = to,
            _ => groups.push((*from, to)),
        }
    }
    groups
}

/// Adds a line, broken at blanks where it is too long.
fn push_wrapped(to: &mut String, indent: &str, text: &str, width: usize) {
    let room = width.saturating_sub(indent.len());
    let mut line = String::new();
    for word in text.split(' ') {
        let length = line.chars().count() + 1 + word.chars().count();
        if length > room && !word.is_empty() && !line.trim().is_empty() {
            to.push_str(&format!("{indent}{}\n", line.trim_end()));
            line.clear();
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    to.push_str(&format!("{indent}{line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::table::table;

    fn row(cells: [&str; 4]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn lines_go_on_further_in() {
        let text = "one two three four\n    five six seven\nfits\n";
        assert_eq!(wrap(text, 80), text);
        let expected = "one two\n    three four\n    five\n        six\n        seven\nfits\n";
        assert_eq!(wrap(text, 14), expected);
    }

    #[test]
    fn what_fits_stays_and_what_does_not_is_folded_without_loss() {
        let id = "f".repeat(30);
        let rows = [
            row([
                "10:00:00",
                "anna@example.org",
                "RoleBinding shop/edit",
                "kubectl get pods -n shop",
            ]),
            row(["10:00:01", "", "", &format!("▲ critical {id}")]),
        ];
        let text =
            table(&["time", "who", "dead letters", "what"], &rows) + "prod: blind to some things\n";
        assert_eq!(fold(&text, 200), text);
        assert_eq!(fold("nothing in this time\n", 80), "nothing in this time\n");
        let expected = "\
time      who
    dead letters
    what
10:00:00  anna@example.org
    RoleBinding shop/edit
    kubectl get pods -n shop
10:00:01
    ▲ critical
    ffffffffffffffffffffffffffffff
prod: blind to some things
";
        assert_eq!(fold(&text, 30), expected);
        for width in 1..90 {
            let folded = fold(&text, width);
            let words = |text: &str| {
                let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                words.sort_unstable();
                words
            };
            assert_eq!(words(&folded), words(&text), "{width}");
            let longest_word = 30 + INDENT.len();
            let is_within = |line: &str| line.chars().count() <= width.max(longest_word);
            assert!(folded.lines().all(is_within), "{width}:\n{folded}");
        }
    }
}
