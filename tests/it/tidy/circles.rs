//! Modules beside each other do not name one another in a circle: each can be read after those that it
//! names.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{check, module_of, paths, program_text, sources, uses};

/// A module: its path from the crate's root.
type Module = Vec<String>;

/// Which of the modules beside it each module names, by the module that both are in.
type Edges = BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>;

/// The modules with what they name, from the files of a crate.
struct Tree {
    modules: BTreeMap<Module, String>,
    /// For each module, where the names come from that it hands on.
    handed_on: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Tree {
    fn new(files: &[(String, String)]) -> Tree {
        let is_program = |path: &str| !path.ends_with("tests.rs");
        let modules: BTreeMap<Module, String> = files
            .iter()
            .filter(|(path, _)| is_program(path))
            .map(|(path, text)| (module_of(path), program_text(text)))
            .collect();
        let mut tree = Tree { modules, handed_on: BTreeMap::new() };
        for (module, text) in &tree.modules {
            let names: BTreeMap<String, Module> = uses(text)
                .into_iter()
                .filter(|(is_public, _)| *is_public)
                .filter_map(|(_, path)| tree.absolute(module, &path))
                .map(|path| (path.last().unwrap().clone(), path))
                .collect();
            tree.handed_on.insert(module.clone(), names);
        }
        tree
    }

    /// A path from the crate's root; `None` if it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        let join = |head: &[String], tail: &[String]| [head, tail].concat();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some(join(module, &path[1..])),
            "super" => Some(join(&module[..module.len() - supers], &path[supers..])),
            child => {
                let inner = join(module, &[child.to_owned()]);
                self.modules.contains_key(&inner).then(|| join(module, path))
            }
        }
    }

    /// Where a path leads that goes through what a module hands on.
    fn resolved(&self, mut path: Module) -> Module {
        // Bounded, should two modules hand on each other's names.
        for _ in 0..8 {
            let step = (1..path.len()).find_map(|length| {
                let (module, rest) = path.split_at(length);
                let is_module = self.modules.contains_key(&path[..=length]);
                let from = self.handed_on.get(module)?.get(&rest[0])?;
                (!is_module).then(|| [from, &rest[1..]].concat())
            });
            match step {
                Some(next) => path = next,
                None => break,
            }
        }
        path
    }

    fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (module, text) in &self.modules {
            for path in paths(text).iter().filter_map(|path| self.absolute(module, path)) {
                let path = self.resolved(path);
                let common = module.iter().zip(&path).take_while(|(a, b)| a == b).count();
                let (Some(own), Some(_)) = (module.get(common), path.get(common)) else { continue };
                if self.modules.contains_key(&path[..=common]) {
                    let level = edges.entry(module[..common].to_vec()).or_default();
                    level.entry(own.clone()).or_default().insert(path[common].clone());
                }
            }
        }
        edges
    }
}

/// Everything that can be come to from a module along the edges of its level.
fn reachable<'e>(edges: &'e BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'e str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![from];
    while let Some(module) = open.pop() {
        for next in edges.get(module).into_iter().flatten() {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

/// Circles by the module they are in, each as the sorted names of all that are part of it.
fn circles(files: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    let mut circles = BTreeSet::new();
    for (level, edges) in Tree::new(files).edges() {
        let reachable = |from: &str| reachable(&edges, from);
        for module in edges.keys() {
            let back = |other: &&str| reachable(other).contains(module.as_str());
            let circle: Vec<String> =
                reachable(module).into_iter().filter(back).map(str::to_owned).collect();
            if circle.len() > 1 {
                circles.insert((level.join("/"), circle));
            }
        }
    }
    circles.into_iter().collect()
}

#[test]
fn modules_beside_each_other_name_one_another_in_no_circle() {
    let found = circles(&sources());
    let errors: Vec<String> = found
        .iter()
        .map(|(level, circle)| {
            format!("src/{level}: {} name one another in a circle", circle.join(", "))
        })
        .collect();
    check(&errors);
}

#[test]
fn circles_are_seen_through_what_a_module_hands_on() {
    let files = [
        ("src/a/mod.rs", "mod b;\nmod c;\nmod d;\npub use c::{C, helper};\n"),
        ("src/a/b.rs", "use super::{C, d::D};\n"),
        ("src/a/c.rs", "fn x() -> crate::a::b::B {}\n"),
        ("src/a/d.rs", "//! Not super::b.\n#[cfg(test)]\nmod tests { use crate::a::b::B; }\n"),
        ("src/e.rs", "use crate::a::C;\n"),
    ];
    let files: Vec<_> = files.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    let circle = vec!["b".to_owned(), "c".to_owned()];
    assert_eq!(circles(&files), [("a".to_owned(), circle)]);
}
