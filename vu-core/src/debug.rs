//! Debug categories: what the hypervisor tells about itself when it is asked to, live.
//!
//! A category is a [`Tag`]. Each view has a [`struct@Debug`]: which tags are on, and their colours. A process and what it starts can
//! differ from its view by an [`Override`]. Asking whether a tag is on costs one load while everything is off, so the question
//! may stand on the hot path.

use anstyle::{AnsiColor, Effects, Style};
use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A debug category. Small letters are the hypervisor's own, capital ones the modules'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The requests of the tools.
    Control,
    /// Virtual files and descriptors.
    Files,
    /// Signals, interrupted and restarted calls.
    Signals,
    /// Seccomp filters and how a call reaches the hypervisor.
    Filters,
    /// What a mount asks of the layer below it.
    Layers,
    /// Mounts and umounts, and which mount answers a path.
    Mounts,
    /// Sockets and network stacks.
    Network,
    /// Path resolution.
    Paths,
    /// Every intercepted system call with its arguments and result.
    Syscalls,
    /// Processes: start, exec, end, what they inherit.
    Tasks,
    /// What modules do and say.
    Modules,
}

impl Tag {
    /// All of them, in the order of their letters, capital ones last.
    pub const ALL: [Tag; 11] = [
        Tag::Control,
        Tag::Files,
        Tag::Signals,
        Tag::Filters,
        Tag::Layers,
        Tag::Mounts,
        Tag::Network,
        Tag::Paths,
        Tag::Syscalls,
        Tag::Tasks,
        Tag::Modules,
    ];

    /// Letter, name and meaning.
    fn description(self) -> (char, &'static str, &'static str) {
        match self {
            Tag::Control => ('c', "control", "the requests of the tools"),
            Tag::Files => ('f', "files", "virtual files and descriptors"),
            Tag::Signals => ('i', "signals", "calls that signals interrupt, and that are made again"),
            Tag::Filters => ('k', "filters", "seccomp filters, and how each call reaches umvu"),
            Tag::Layers => ('l', "layers", "what mounts ask of what lies below them"),
            Tag::Mounts => ('m', "mounts", "mounts and umounts, and which mount answers a path"),
            Tag::Network => ('n', "network", "sockets and network stacks"),
            Tag::Paths => ('p', "paths", "path resolution"),
            Tag::Syscalls => ('s', "syscalls", "every intercepted system call"),
            Tag::Tasks => ('t', "tasks", "processes: start, exec, end, what they inherit"),
            Tag::Modules => ('M', "modules", "what modules do and say"),
        }
    }

    /// The letter by which people name it.
    #[must_use]
    pub fn letter(self) -> char {
        self.description().0
    }

    /// Its name, which people may write instead of the letter.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.description().1
    }

    /// One line for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.description().2
    }

    fn set(self) -> TagSet {
        TagSet(1 << (self as u64))
    }
}

/// A set of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TagSet(u64);

impl TagSet {
    /// Every tag.
    pub const ALL: TagSet = TagSet((1 << Tag::ALL.len()) - 1);

    /// Whether the tag is in it.
    #[must_use]
    pub fn has(self, tag: Tag) -> bool {
        self.0 & tag.set().0 != 0
    }

    /// The tags in it.
    pub fn iter(self) -> impl Iterator<Item = Tag> {
        Tag::ALL.into_iter().filter(move |&tag| self.has(tag))
    }

    /// Reads letters (`spm`), or names between commas (`paths,mounts`). Nothing at all means every tag.
    ///
    /// # Errors
    /// [`BadChange::Tag`] with what is neither.
    pub fn parse(text: &str) -> Result<TagSet, BadChange> {
        if text.is_empty() {
            return Ok(TagSet::ALL);
        }
        let mut set = TagSet::default();
        for word in text.split(',') {
            // A name is tried first: "files" could be read as letters.
            if let Some(tag) = Tag::ALL.into_iter().find(|tag| tag.name() == word) {
                set.0 |= tag.set().0;
                continue;
            }
            for letter in word.chars() {
                let tag = Tag::ALL.into_iter().find(|tag| tag.letter() == letter);
                set.0 |= tag.ok_or_else(|| BadChange::Tag(letter.to_string()))?.set().0;
            }
        }
        Ok(set)
    }
}

/// One change of categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    tags: TagSet,
    switch: Option<Switch>,
    style: Option<Style>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

/// Changes of categories, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(Vec<Change>);

/// Why a change of categories cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadChange {
    /// There is no such tag.
    Tag(String),
    /// This is no colour.
    Colour(String),
    /// It begins with neither `+` nor `-`.
    Sign(String),
}

impl Changes {
    /// Reads the arguments of `vudebug`: `+TAGS[:COLOUR]` or `-TAGS` each.
    ///
    /// # Errors
    /// See [`BadChange`].
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Changes, BadChange> {
        let mut changes = Changes::default();
        for text in texts {
            let text = text.as_ref();
            if let Some(tags) = text.strip_prefix('+') {
                changes.add(tags, Some(Switch::On))?;
            } else if let Some(tags) = text.strip_prefix('-') {
                changes.0.push(Change { tags: TagSet::parse(tags)?, switch: Some(Switch::Off), style: None });
            } else {
                return Err(BadChange::Sign(text.to_owned()));
            }
        }
        Ok(changes)
    }

    /// Adds tags that are on: `TAGS[:COLOUR]`.
    ///
    /// # Errors
    /// See [`BadChange`].
    pub fn switch_on(&mut self, text: &str) -> Result<(), BadChange> {
        self.add(text, Some(Switch::On))
    }

    /// Adds a colour for tags that are, or will be, on: `TAGS:COLOUR`.
    ///
    /// # Errors
    /// See [`BadChange`].
    pub fn colour(&mut self, text: &str) -> Result<(), BadChange> {
        if !text.contains(':') {
            return Err(BadChange::Colour(text.to_owned()));
        }
        self.add(text, None)
    }

    fn add(&mut self, text: &str, switch: Option<Switch>) -> Result<(), BadChange> {
        let (tags, style) = match text.split_once(':') {
            Some((tags, colour)) => (tags, Some(parse_style(colour)?)),
            None => (text, None),
        };
        self.0.push(Change { tags: TagSet::parse(tags)?, switch, style });
        Ok(())
    }
}

/// How a process and what it starts differ from their view. `Override::default()` is: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Override {
    on: TagSet,
    off: TagSet,
}

impl Override {
    /// This override with more changes; their colours are the view's business ([`Debug::override_task`]).
    fn with(mut self, changes: &Changes) -> Override {
        for change in &changes.0 {
            let tags = change.tags.0;
            match change.switch {
                Some(Switch::On) => (self.on.0, self.off.0) = (self.on.0 | tags, self.off.0 & !tags),
                Some(Switch::Off) => (self.on.0, self.off.0) = (self.on.0 & !tags, self.off.0 | tags),
                None => {}
            }
        }
        self
    }
}

/// The debug categories of a view.
#[derive(Debug, Default)]
pub struct Debug {
    /// The tags that are on, and [`OVERRIDDEN`].
    mask: AtomicU64,
    styles: Mutex<[Style; Tag::ALL.len()]>,
}

thread_local! {
    /// For whom this thread works: a process and its override.
    static SERVED: Cell<(i32, Override)> = const { Cell::new((0, Override { on: TagSet(0), off: TagSet(0) })) };
}

/// As long as it is there, what this thread does is done for a process; see [`Debug::tell_served`].
pub struct Served((i32, Override));

impl Served {
    /// From now on the thread works for this process.
    #[must_use]
    pub fn begin(pid: i32, task: Override) -> Served {
        Served(SERVED.replace((pid, task)))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        SERVED.set(self.0);
    }
}

/// The bit of [`Debug::mask`] that says: some task has an override, so an empty mask alone says nothing.
const OVERRIDDEN: u64 = 1 << 63;

impl Debug {
    /// Whether to tell about `tag` to a task with this override. One load while nothing is on.
    #[inline]
    #[must_use]
    pub fn enabled(&self, tag: Tag, task: &Override) -> bool {
        let mask = self.mask.load(Ordering::Relaxed);
        mask != 0 && TagSet((mask | task.on.0) & !task.off.0).has(tag)
    }

    /// Whether nothing is on for anybody: what a caller may ask who would have to look for the task's override first.
    #[inline]
    #[must_use]
    pub fn silent(&self) -> bool {
        self.mask.load(Ordering::Relaxed) == 0
    }

    /// Changes the categories of the view.
    pub fn change(&self, changes: &Changes) {
        self.set_styles(changes);
        for change in &changes.0 {
            match change.switch {
                Some(Switch::On) => self.mask.fetch_or(change.tags.0, Ordering::Relaxed),
                Some(Switch::Off) => self.mask.fetch_and(!change.tags.0, Ordering::Relaxed),
                None => continue,
            };
        }
    }

    /// Changes the categories of one task: its new override, which the caller keeps and which its children inherit.
    /// Colours are changed for the whole view.
    #[must_use]
    pub fn override_task(&self, task: Override, changes: &Changes) -> Override {
        self.set_styles(changes);
        let task = task.with(changes);
        if task.on != TagSet::default() {
            self.mask.fetch_or(OVERRIDDEN, Ordering::Relaxed);
        }
        task
    }

    fn set_styles(&self, changes: &Changes) {
        let mut styles = self.styles.lock().unwrap_or_else(PoisonError::into_inner);
        for change in &changes.0 {
            if let Some(style) = change.style {
                change.tags.iter().for_each(|tag| styles[tag as usize] = style);
            }
        }
    }

    fn style(&self, tag: Tag) -> Style {
        self.styles.lock().unwrap_or_else(PoisonError::into_inner)[tag as usize]
    }

    /// Prints one line about the process `pid` to the log. Whether it is wanted is asked before, by [`enabled`](Self::enabled).
    pub fn line(&self, tag: Tag, pid: i32, text: fmt::Arguments<'_>) {
        crate::log::debug_line(self.style(tag), format_args!("{pid} {} {text}", tag.letter()));
    }

    /// Prints one line about the process that this thread works for, if it is wanted.
    pub fn tell_served(&self, tag: Tag, text: fmt::Arguments<'_>) {
        if self.silent() {
            return;
        }
        let (pid, task) = SERVED.get();
        if self.enabled(tag, &task) {
            self.line(tag, pid, text);
        }
    }

    /// The categories as [`vu_api::control::Request::DebugTags`] tells them: letter, name, meaning, `on` or empty, colour.
    #[must_use]
    pub fn rows(&self) -> vu_api::control::Rows {
        let mask = TagSet(self.mask.load(Ordering::Relaxed));
        let row = |tag: Tag| {
            let on = if mask.has(tag) { "on" } else { "" };
            [tag.letter().to_string(), tag.name().into(), tag.meaning().into(), on.into(), show_style(self.style(tag))]
        };
        Tag::ALL.into_iter().map(|tag| row(tag).to_vec()).collect()
    }
}

/// A view made from another begins with its categories.
impl Clone for Debug {
    fn clone(&self) -> Debug {
        let styles = *self.styles.lock().unwrap_or_else(PoisonError::into_inner);
        Debug { mask: AtomicU64::new(self.mask.load(Ordering::Relaxed)), styles: Mutex::new(styles) }
    }
}

/// Letter and name of the colours; the capital letter is the background.
const COLOURS: [(char, &str, AnsiColor); 8] = [
    ('n', "black", AnsiColor::Black),
    ('r', "red", AnsiColor::Red),
    ('g', "green", AnsiColor::Green),
    ('y', "yellow", AnsiColor::Yellow),
    ('b', "blue", AnsiColor::Blue),
    ('m', "magenta", AnsiColor::Magenta),
    ('c', "cyan", AnsiColor::Cyan),
    ('w', "white", AnsiColor::White),
];

/// Sign of the effects.
const EFFECTS: [(char, Effects); 5] = [
    ('+', Effects::BOLD),
    ('-', Effects::DIMMED),
    ('_', Effects::UNDERLINE),
    ('*', Effects::BLINK),
    ('#', Effects::INVERT),
];

/// Reads a colour: a name (`red`), or letters: `r` foreground, `R` background, and the signs of the effects.
fn parse_style(text: &str) -> Result<Style, BadChange> {
    if let Some((_, _, colour)) = COLOURS.iter().find(|(_, name, _)| *name == text) {
        return Ok(colour.on_default());
    }
    let mut style = Style::new();
    for sign in text.chars() {
        if let Some((_, effect)) = EFFECTS.iter().find(|(e, _)| *e == sign) {
            style |= *effect;
            continue;
        }
        let colour = COLOURS.iter().find(|(letter, _, _)| *letter == sign.to_ascii_lowercase());
        let colour = Some(colour.ok_or_else(|| BadChange::Colour(text.to_owned()))?.2.into());
        style = if sign.is_ascii_uppercase() { style.bg_color(colour) } else { style.fg_color(colour) };
    }
    Ok(style)
}

/// What [`parse_style`] reads.
fn show_style(style: Style) -> String {
    let letter = |colour| COLOURS.iter().find(|(_, _, c)| Some((*c).into()) == colour).map(|(letter, _, _)| *letter);
    let foreground = letter(style.get_fg_color());
    let background = letter(style.get_bg_color()).map(|letter| letter.to_ascii_uppercase());
    let effects = EFFECTS.iter().filter(|(_, effect)| style.get_effects().contains(*effect)).map(|(sign, _)| *sign);
    foreground.into_iter().chain(background).chain(effects).collect()
}

impl fmt::Display for BadChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadChange::Tag(tag) => {
                write!(f, "there is no debug category '{}'; there are: ", tag.escape_debug())?;
                let mut separator = "";
                for tag in Tag::ALL {
                    write!(f, "{separator}{} ({})", tag.letter(), tag.name())?;
                    separator = ", ";
                }
                Ok(())
            }
            BadChange::Colour(colour) => {
                let colour = colour.escape_debug();
                write!(
                    f,
                    "'{colour}' is no colour: write TAGS:COLOUR with a name (red), or letters of nrgybmcw (capital: background) and +-_*#"
                )
            }
            BadChange::Sign(text) => {
                write!(
                    f,
                    "'{}' is no change of debug categories: write +TAGS[:COLOUR], -TAGS or ?TAGS",
                    text.escape_debug()
                )
            }
        }
    }
}

impl std::error::Error for BadChange {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn on(debug: &Debug, task: &Override) -> String {
        Tag::ALL.into_iter().filter(|&tag| debug.enabled(tag, task)).map(Tag::letter).collect()
    }

    fn changes(texts: &[&str]) -> Changes {
        Changes::parse(texts).unwrap()
    }

    #[test]
    fn letters_and_names_are_unique() {
        for (i, tag) in Tag::ALL.into_iter().enumerate() {
            assert_eq!(tag as usize, i, "ALL is in the order of the declaration");
            for other in &Tag::ALL[i + 1..] {
                assert!(tag.letter() != other.letter() && tag.name() != other.name());
            }
        }
    }

    #[test]
    fn switching_a_view() {
        let debug = Debug::default();
        let nobody = Override::default();
        assert!(debug.silent());
        debug.change(&changes(&["+sp", "+mounts,tasks", "-p"]));
        assert_eq!(on(&debug, &nobody), "mst");
        debug.change(&changes(&["-"]));
        assert!(debug.silent());
        debug.change(&changes(&["+"]));
        assert_eq!(on(&debug, &nobody).len(), Tag::ALL.len());
    }

    #[test]
    fn a_task_differs_from_its_view() {
        let debug = Debug::default();
        let nobody = Override::default();
        let task = debug.override_task(nobody, &changes(&["+s"]));
        assert!(!debug.silent());
        assert_eq!((on(&debug, &task).as_str(), on(&debug, &nobody).as_str()), ("s", ""));
        let task = debug.override_task(task, &changes(&["-sp"]));
        debug.change(&changes(&["+spm"]));
        assert_eq!((on(&debug, &task).as_str(), on(&debug, &nobody).as_str()), ("m", "mps"));
    }

    #[test]
    fn colours_come_back() {
        for (text, shown) in [("r", "r"), ("red", "r"), ("gB+", "gB+"), ("#b", "b#"), ("", "")] {
            assert_eq!(show_style(parse_style(text).unwrap()), shown);
        }
        let debug = Debug::default();
        debug.change(&changes(&["+s:red"]));
        let mut later = Changes::default();
        later.colour("p:b+").unwrap();
        debug.change(&later);
        let rows = debug.rows();
        let row = |letter: &str| rows.iter().find(|row| row[0] == letter).unwrap();
        assert_eq!(row("s")[3..], ["on", "r"]);
        assert_eq!(row("p")[3..], ["", "b+"]);
    }

    #[test]
    fn what_cannot_be_read() {
        assert_eq!(Changes::parse(["+sZ"]), Err(BadChange::Tag("Z".into())));
        assert_eq!(Changes::parse(["+s:x"]), Err(BadChange::Colour("x".into())));
        assert_eq!(Changes::parse(["s"]), Err(BadChange::Sign("s".into())));
        assert!(Changes::default().colour("s").is_err());
        for error in [BadChange::Tag("\u{1b}".into()), BadChange::Colour("x".into()), BadChange::Sign("x".into())] {
            let text = error.to_string();
            assert!(!text.contains(char::is_control) && text.len() > 20, "{text}");
        }
    }
}
