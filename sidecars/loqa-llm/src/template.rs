//! Renders the chat template that a model file brings along. The templates are
//! Jinja written for Python, so Python's methods and the three helpers that
//! Hugging Face documents are provided.
//!
//! Deliberately absent: templates of our own. A file without one is continued as
//! plain text, see [`crate::chat`].

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps a template may take. Chosen: a hundred times what a long chat needs.
const FUEL: u64 = 20_000_000;

/// A compiled chat template.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

/// One message as templates expect it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TemplateMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// The text.
    pub content: String,
}

impl ChatTemplate {
    /// Compiles `source`. `bos` and `eos` are the texts of the model's tokens.
    pub fn compile(source: &str, bos: String, eos: String) -> Result<Self, Error> {
        let mut environment = Environment::new();
        // What `transformers` sets for chat templates.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| strftime(&format, SystemTime::now()));
        // Marks for training masks; they print nothing.
        let plain = strip_generation_marks(source);
        environment.add_template_owned("chat", plain)?;
        Ok(Self { environment, source: source.to_owned(), bos, eos })
    }

    /// The template as the file has it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a chat up to the point where the assistant speaks.
    pub fn render(&self, messages: &[TemplateMessage], tools: &[serde_json::Value]) -> Result<String, Error> {
        let tools = if tools.is_empty() { Value::from(()) } else { Value::from(Serde(tools)) };
        self.environment.get_template("chat")?.render(minijinja::context! {
            messages => Value::from(Serde(messages)),
            tools => tools,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            add_generation_prompt => true,
            // Voice has no patience for a model that thinks aloud first.
            enable_thinking => false,
        })
    }
}

/// Removes `{% generation %}` and `{% endgeneration %}`, an extension of `transformers`.
fn strip_generation_marks(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        plain.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let word = tag[2..end.max(2)].trim_end_matches("%}").trim_matches(['-', ' ']);
        if word != "generation" && word != "endgeneration" {
            plain.push_str(&tag[..end]);
        }
        rest = &tag[end..];
    }
    plain.push_str(rest);
    plain
}

/// Python's `json.dumps(value, ensure_ascii=False)`: templates were tuned on its spacing,
/// and minijinja's own filter escapes `<` and `&` for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Accepted for compatibility; this writer keeps order and never escapes letters.
    let _: Option<bool> = options.get("ensure_ascii")?;
    let _: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let mut out = String::new();
    write_json(&value, indent, 0, &mut out)?;
    Ok(out)
}

fn write_json(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) -> Result<(), Error> {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value.kind() {
        ValueKind::Map => {
            out.push('{');
            for (n, key) in value.try_iter()?.enumerate() {
                if n > 0 {
                    out.push_str(comma);
                }
                line(depth + 1, out);
                out.push_str(&serde_json::Value::from(key.to_string()).to_string());
                out.push_str(": ");
                write_json(&value.get_item(&key)?, indent, depth + 1, out)?;
            }
            if value.len().unwrap_or(0) > 0 {
                line(depth, out);
            }
            out.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (n, element) in value.try_iter()?.enumerate() {
                if n > 0 {
                    out.push_str(comma);
                }
                line(depth + 1, out);
                write_json(&element, indent, depth + 1, out)?;
            }
            if value.len().unwrap_or(0) > 0 {
                line(depth, out);
            }
            out.push(']');
        }
        _ => match serde_json::to_string(value) {
            Ok(text) => out.push_str(&text),
            Err(e) => return Err(Error::new(ErrorKind::BadSerialization, e.to_string())),
        },
    }
    Ok(())
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The directives that templates in the wild use, in UTC; others are left as they stand.
fn strftime(format: &str, now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        let day_name = DAYS[usize::try_from(days % 7).unwrap_or(0)];
        match chars.next() {
            Some('Y') => out.push_str(&year.to_string()),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('b') => out.push_str(&month_name[..3]),
            Some('B') => out.push_str(month_name),
            Some('a') => out.push_str(&day_name[..3]),
            Some('A') => out.push_str(day_name),
            Some('H') => out.push_str(&format!("{:02}", time / 3_600)),
            Some('M') => out.push_str(&format!("{:02}", time / 60 % 60)),
            Some('S') => out.push_str(&format!("{:02}", time % 60)),
            Some('%') => out.push('%'),
            Some(other) => {
                out.push('%');
                out.push(other);
            }
            None => out.push('%'),
        }
    }
    out
}

/// Year, month and day of a day count since 1970-01-01 (Howard Hinnant's `civil_from_days`).
const fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn message(role: &'static str, content: &str) -> TemplateMessage {
        TemplateMessage { role, content: content.into() }
    }

    /// The tool part of Qwen 2.5's template, shortened, with its spacing.
    const QWEN: &str = r#"{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- endif %}
    {{- "\n\n# Tools\n<tools>" }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content.strip() + '<|im_end|>' + '\n' }}
    {%- elif message.role == "tool" %}
        {{- raise_exception('no tool results here') }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}"#;

    #[test]
    fn tools_are_written_as_python_would_write_them() {
        let template = ChatTemplate::compile(QWEN, String::new(), "<|im_end|>".into()).expect("compiles");
        let tools = [
            json!({"type": "function", "function": {"name": "t", "description": "a < b & c: ä", "parameters": {"required": ["x", "y"], "n": 1.5, "no": null}}}),
        ];
        let text =
            template.render(&[message("system", "Be brief."), message("user", " hi ")], &tools).expect("renders");
        assert!(
            text.contains(r#""description": "a < b & c: ä""#) && text.contains(r#""required": ["x", "y"]"#),
            "{text}"
        );
        assert!(text.contains(r#""n": 1.5, "no": null"#), "{text}");
        assert!(text.ends_with("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"), "{text}");
    }

    #[test]
    fn an_exception_of_the_template_carries_its_words() {
        let template = ChatTemplate::compile(QWEN, String::new(), String::new()).expect("compiles");
        let error = template.render(&[message("tool", "x")], &[]).expect_err("the template refuses");
        assert!(error.to_string().contains("no tool results here"), "{error}");
    }

    #[test]
    fn an_endless_template_runs_out_of_fuel() {
        let source = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
        let template = ChatTemplate::compile(source, String::new(), String::new()).expect("compiles");
        assert_eq!(template.render(&[], &[]).expect_err("too long").kind(), ErrorKind::OutOfFuel);
    }

    #[test]
    fn training_marks_are_ignored() {
        let source =
            "{% for m in messages %}{%- generation -%}{{ m.content }}{% endgeneration %}{% endfor %}{{ eos_token }}";
        let template = ChatTemplate::compile(source, String::new(), "</s>".into()).expect("compiles");
        assert_eq!(template.render(&[message("user", "a")], &[]).expect("renders"), "a</s>");
    }

    #[test]
    fn dates_are_right_at_the_edges() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(strftime("%d %b %Y %A %H:%M:%S %% %q", at(0)), "01 Jan 1970 Thursday 00:00:00 % %q");
        assert_eq!(strftime("%Y-%m-%d %a", at(1_709_164_800)), "2024-02-29 Thu");
        assert_eq!(strftime("%B %d %H:%M", at(1_798_761_599)), "December 31 23:59");
    }
}
