//! Where a file can be broken, and how.

use std::ops::Range;
use std::path::Path;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Expr, ExprLit, Item, Lit, ReturnType, Stmt, Type, UnOp};

/// What is done at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The expression is replaced by this text where the mutant is on.
    Instead(String),
    /// The condition is the other way round.
    Negated,
    /// The guard holds, or does not.
    Guard(bool),
    /// The statement is left out.
    Without,
    /// The function returns this at once.
    Returns(String),
}

/// One place in one file, before it is chosen.
#[derive(Debug, Clone)]
pub struct Place {
    /// The bytes that are replaced; of a function the place behind its brace.
    pub range: Range<usize>,
    pub line: usize,
    pub kind: Kind,
    /// The operator, for the table: `<→<=`.
    pub operator: String,
    /// The function around it.
    pub function: Range<usize>,
}

/// All places of a file, and the files of modules that only tests have.
pub fn places(text: &str, path: &Path) -> syn::Result<(Vec<Place>, Vec<String>)> {
    let file = syn::parse_file(text)?;
    let mut finder = Finder { text, places: Vec::new(), tests: Vec::new(), function: 0..0 };
    // An inner attribute makes all of it a test.
    if !file.attrs.iter().any(is_test) {
        finder.visit_file(&file);
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = path.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    let inside = if ["mod", "lib", "main"].contains(&stem) { folder } else { format!("{folder}/{stem}") };
    let tests = finder.tests.iter().map(|name| format!("{inside}/{name}")).collect();
    Ok((finder.places, tests))
}

struct Finder<'a> {
    text: &'a str,
    places: Vec<Place>,
    tests: Vec<String>,
    function: Range<usize>,
}

fn is_test(attribute: &Attribute) -> bool {
    let text = match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
        syn::Meta::Path(path) if path.segments.last().is_some_and(|last| last.ident == "test") => return true,
        _ => return false,
    };
    text.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test") && !text.contains("not")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        _ => &[],
    }
}

/// Whether a condition binds something.
fn binds(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(it) => binds(&it.left) || binds(&it.right),
        Expr::Paren(it) => binds(&it.expr),
        _ => false,
    }
}

fn other(operator: &BinOp) -> Option<(&'static str, &'static str)> {
    Some(match operator {
        BinOp::Lt(_) => ("<", "<="),
        BinOp::Le(_) => ("<=", "<"),
        BinOp::Gt(_) => (">", ">="),
        BinOp::Ge(_) => (">=", ">"),
        BinOp::Eq(_) => ("==", "!="),
        BinOp::Ne(_) => ("!=", "=="),
        BinOp::And(_) => ("&&", "||"),
        BinOp::Or(_) => ("||", "&&"),
        BinOp::Add(_) => ("+", "-"),
        BinOp::Sub(_) => ("-", "+"),
        BinOp::Mul(_) => ("*", "/"),
        BinOp::Div(_) => ("/", "*"),
        BinOp::AddAssign(_) => ("+=", "-="),
        BinOp::SubAssign(_) => ("-=", "+="),
        _ => return None,
    })
}

/// What a function of this type may return without looking at anything.
fn simple(output: &ReturnType) -> Vec<String> {
    let ReturnType::Type(_, kind) = output else { return vec!["()".to_owned()] };
    let Type::Path(path) = &**kind else { return Vec::new() };
    let Some(last) = path.path.segments.last() else { return Vec::new() };
    let inner = match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => arguments.args.first().and_then(|first| match first {
            syn::GenericArgument::Type(kind) => Some(kind),
            _ => None,
        }),
        _ => None,
    };
    let one = |text: &str| vec![text.to_owned()];
    match last.ident.to_string().as_str() {
        "bool" => vec!["true".to_owned(), "false".to_owned()],
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" => one("0"),
        "String" | "Vec" | "BTreeMap" | "BTreeSet" | "VecDeque" => one("Default::default()"),
        "Option" => one("None"),
        "Result" => match inner {
            Some(Type::Tuple(unit)) if unit.elems.is_empty() => one("Ok(())"),
            Some(Type::Path(of)) => match of.path.segments.last().map(|last| last.ident.to_string()).as_deref() {
                Some("bool") => vec!["Ok(true)".to_owned(), "Ok(false)".to_owned()],
                Some("Vec" | "String") => one("Ok(Default::default())"),
                Some("Option") => one("Ok(None)"),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

impl Finder<'_> {
    fn add(&mut self, span: Span, kind: Kind, operator: impl Into<String>) {
        let range = span.byte_range();
        let (line, operator, function) = (span.start().line, operator.into(), self.function.clone());
        self.places.push(Place { range, line, kind, operator, function });
    }

    fn source(&self, span: Span) -> &str {
        self.text.get(span.byte_range()).unwrap_or_default()
    }

    fn condition(&mut self, condition: &Expr) {
        if !binds(condition) {
            self.add(condition.span(), Kind::Negated, "condition negated");
        }
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        if signature.constness.is_some() {
            return;
        }
        let before = std::mem::replace(&mut self.function, block.span().byte_range());
        for value in simple(&signature.output) {
            let start = block.brace_token.span.open().end();
            let at = block.brace_token.span.open().byte_range().end;
            let operator = format!("{} returns {value}", signature.ident);
            let (kind, function) = (Kind::Returns(value), self.function.clone());
            self.places.push(Place { range: at..at, line: start.line, kind, operator, function });
        }
        visit::visit_block(self, block);
        self.function = before;
    }

    fn number(&mut self, literal: &ExprLit) {
        let Lit::Int(number) = &literal.lit else { return };
        let Ok(value) = number.base10_parse::<u128>() else { return };
        let suffix = number.suffix();
        self.add(literal.span(), Kind::Instead(format!("{}{suffix}", value + 1)), format!("{value}→{}", value + 1));
        if value > 0 {
            self.add(literal.span(), Kind::Instead(format!("{}{suffix}", value - 1)), format!("{value}→{}", value - 1));
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let test = attributes(item).iter().any(is_test);
        match item {
            Item::Mod(module) if test && module.content.is_none() => self.tests.push(module.ident.to_string()),
            _ if test => {}
            Item::Const(_) | Item::Static(_) | Item::Macro(_) | Item::Enum(_) | Item::Struct(_) | Item::Use(_) => {}
            Item::Impl(it) => {
                let of = it.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
                if of.is_none_or(|last| last.ident != "Debug") {
                    visit::visit_item_impl(self, it);
                }
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_fn(&mut self, it: &'ast syn::ItemFn) {
        self.body(&it.sig, &it.block);
    }

    fn visit_impl_item_fn(&mut self, it: &'ast syn::ImplItemFn) {
        if !it.attrs.iter().any(is_test) {
            self.body(&it.sig, &it.block);
        }
    }

    fn visit_trait_item_fn(&mut self, it: &'ast syn::TraitItemFn) {
        if let Some(block) = &it.default {
            self.body(&it.sig, block);
        }
    }

    // Nothing in these is evaluated when the program runs.
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_generics(&mut self, _: &'ast syn::Generics) {}
    fn visit_path_arguments(&mut self, _: &'ast syn::PathArguments) {}
    fn visit_angle_bracketed_generic_arguments(&mut self, _: &'ast syn::AngleBracketedGenericArguments) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_macro(&mut self, _: &'ast syn::Macro) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_expr_repeat(&mut self, it: &'ast syn::ExprRepeat) {
        self.visit_expr(&it.expr);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Item(item) => return self.visit_item(item),
            Stmt::Expr(Expr::MethodCall(call), Some(_)) => {
                self.add(statement.span(), Kind::Without, format!("without .{}()", call.method));
            }
            Stmt::Expr(Expr::Call(call), Some(_)) => {
                let name = self.source(call.func.span()).to_owned();
                self.add(statement.span(), Kind::Without, format!("without {name}()"));
            }
            Stmt::Expr(Expr::Assign(it), Some(_)) => {
                let name = self.source(it.left.span()).to_owned();
                self.add(statement.span(), Kind::Without, format!("without {name} ="));
            }
            _ => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some((_, guard)) = arm.guard.as_ref().filter(|(_, guard)| !binds(guard)) {
            self.add(guard.span(), Kind::Guard(true), "guard true");
            self.add(guard.span(), Kind::Guard(false), "guard false");
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            Expr::If(it) => self.condition(&it.cond),
            Expr::While(it) => self.condition(&it.cond),
            Expr::Binary(it) if !binds(expression) => {
                if let Some((from, to)) = other(&it.op) {
                    let text = self.source(expression.span());
                    let at = it.op.span().byte_range().start - expression.span().byte_range().start;
                    let text = format!("{}{to}{}", &text[..at], &text[at + from.len()..]);
                    self.add(expression.span(), Kind::Instead(text), format!("{from}→{to}"));
                }
            }
            Expr::Unary(it) if matches!(it.op, UnOp::Not(_)) => {
                let inner = self.source(it.expr.span()).to_owned();
                self.add(expression.span(), Kind::Instead(inner), "! dropped");
            }
            Expr::Call(it) if it.args.len() == 1 && self.source(it.func.span()) == "Some" => {
                self.add(expression.span(), Kind::Instead("None".to_owned()), "Some→None");
            }
            Expr::Lit(it) => self.number(it),
            _ => {}
        }
        visit::visit_expr(self, expression);
    }
}
