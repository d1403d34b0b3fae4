//! W3C trace context in and out of `tracing` spans: version 00 of the
//! `traceparent` header. `tracestate` and baggage are not used.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The `traceparent` of the current span, or `None` where there is no span or
/// nothing is exported.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid()
        .then(|| format!("00-{:032x}-{:016x}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// Makes `span` a child of the span that sent `traceparent`. Call it before the
/// span is entered. A header that is not a valid `traceparent` is ignored, as
/// W3C asks: the span then starts a trace of its own.
pub fn set_parent(span: &Span, traceparent: &str) {
    let Some(parent) = parse(traceparent) else { return };
    // An error means that nothing is exported or that the span has children
    // already; neither is worth failing a turn for.
    let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
}

/// Reads `version-trace-span-flags`. A later version may add fields at the end.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut fields = traceparent.split('-');
    let version = fixed_hex(fields.next()?, 2)?;
    let trace = fixed_hex(fields.next()?, 32)?;
    let span = fixed_hex(fields.next()?, 16)?;
    let flags = fixed_hex(fields.next()?, 2)?;
    if version == "ff" || (version == "00" && fields.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

fn fixed_hex(field: &str, len: usize) -> Option<&str> {
    let hex = field.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex && field.len() == len).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with_spans<T>(test: impl FnOnce() -> T) -> T {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), test)
    }

    #[test]
    fn a_received_traceparent_goes_on_in_what_is_sent() {
        with_spans(|| {
            let span = tracing::info_span!("hop");
            set_parent(&span, PARENT);
            let sent = span.in_scope(current_traceparent).expect("a span is active");
            assert_eq!(sent[..36], PARENT[..36], "one trace per turn");
            assert_ne!(sent[36..52], PARENT[36..52], "the hop is a span of its own");
            assert!(parse(&sent).is_some(), "what is sent can be received: {sent}");

            let inner = tracing::info_span!(parent: &span, "inner");
            let deeper = inner.in_scope(current_traceparent).expect("a span is active");
            assert_eq!(deeper[..36], PARENT[..36], "children stay in the trace");
        });
    }

    #[test]
    fn without_a_span_or_without_export_there_is_no_traceparent() {
        with_spans(|| assert_eq!(current_traceparent(), None));
        tracing::info_span!("unexported").in_scope(|| assert_eq!(current_traceparent(), None));
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-ä bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
            with_spans(|| {
                let span = tracing::info_span!("hop");
                set_parent(&span, bad);
                assert!(span.in_scope(current_traceparent).is_some(), "the span starts its own trace: {bad}");
            });
        }
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-new").is_some());
    }
}
