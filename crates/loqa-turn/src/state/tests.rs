//! Turns as scripts: what happens on the left, what the machine does about it below.

use super::*;
use crate::intent::IntentDecl;
use expect_test::{Expect, expect};
use serde_json::json;

#[test]
fn a_spoken_intent_is_answered_without_a_model() {
    check(
        "
        voice
        speech
        +1200 end 1200
        +50 partial set a timer
        +40 heard 0.9 Set a timer for five minutes, please.
        +2 returned Timer set for five minutes.
        +30 spoken 0
        sound
        +1800 finished
        ",
        expect![[r#"
            0 voice
                turn_started {"source":"push_to_talk"}
                OPEN STT
            0 speech
                speech_started
            1200 +1200 end 1200
                speech_ended {"audio_ms":1200}
                END AUDIO
            1250 +50 partial set a timer
                transcript_partial {"text":"set a timer"}
            1290 +40 heard 0.9 Set a timer for five minutes, please.
                transcript_final {"confidence":0.8999999761581421,"text":"Set a timer for five minutes, please."}
                intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"please","template":"set a timer for {duration_s:duration}"}
                tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"please","template":"set a timer for {duration_s:duration}"}}
                CALL timer.start {"duration_s":300}
            1292 +2 returned Timer set for five minutes.
                tool_returned {"name":"timer.start","say":"Timer set for five minutes."}
                speaking_started {"text":"Timer set for five minutes."}
                SPEAK 0: "Timer set for five minutes."
                SPEECH COMPLETE
            1322 +30 spoken 0
            1322 sound
                first_sound
            3122 +1800 finished
                speaking_finished
                turn_ended {"class":"intent","end":"completed"}
        "#]],
    );
}

#[test]
fn a_question_is_streamed_by_the_model() {
    check(
        "
        tiers llm.big llm.reflex
        voice
        end 1500
        heard 0.8 why is the sky blue
        delta Because the air scatters
        delta  blue light, mostly. And
        spoken 0
        sound
        delta  that is all
        done
        spoken 1
        spoken 2
        finished
        ",
        expect![[r#"
            0 voice
                turn_started {"source":"push_to_talk"}
                OPEN STT
            0 end 1500
                speech_ended {"audio_ms":1500}
                END AUDIO
            0 heard 0.8 why is the sky blue
                transcript_final {"confidence":0.800000011920929,"text":"why is the sky blue"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "why is the sky blue"
            0 delta Because the air scatters
                reply_delta {"text":"Because the air scatters"}
            0 delta  blue light, mostly. And
                reply_delta {"text":" blue light, mostly. And"}
                speaking_started {"text":"Because the air scatters blue light,"}
                SPEAK 0: "Because the air scatters blue light,"
                speaking_started {"text":"mostly."}
                SPEAK 1: "mostly."
            0 spoken 0
            0 sound
                first_sound
            0 delta  that is all
                reply_delta {"text":" that is all"}
            0 done
                speaking_started {"text":"And that is all"}
                SPEAK 2: "And that is all"
                SPEECH COMPLETE
            0 spoken 1
            0 spoken 2
            0 finished
                speaking_finished
                turn_ended {"class":"llm","end":"completed"}
        "#]],
    );
}

#[test]
fn a_typed_text_runs_through_the_same_machine() {
    check(
        "text set a timer for 90 seconds\nreturned Done then.\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 text set a timer for 90 seconds
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 90 seconds"}
            intent_matched {"call":{"arguments":{"duration_s":90},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":90},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":90}
        0 returned Done then.
            tool_returned {"name":"timer.start","say":"Done then."}
            speaking_started {"text":"Done then."}
            SPEAK 0: "Done then."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 finished
            speaking_finished
            turn_ended {"class":"intent","end":"completed"}
    "#]],
    );
}

#[test]
fn silence_ends_quietly() {
    check(
        "voice\nend 900\nheard 0.1",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 900
            speech_ended {"audio_ms":900}
            END AUDIO
        0 heard 0.1
            transcript_final {"confidence":0.10000000149011612,"text":""}
            turn_failed {"failure":{"code":"no_speech","hop":"stt","message":"nothing was said"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
    check(
        "voice\nend 0",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 0
            speech_ended {"audio_ms":0}
            CANCEL stt
            turn_failed {"failure":{"code":"no_speech","hop":"input","message":"no audio was recorded"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
    check(
        "text \u{0}\u{1b} ",
        expect![[r#"
        0 text \0\u{1b} 
            turn_started {"source":"text"}
            turn_failed {"failure":{"code":"no_speech","hop":"input","message":"the text is empty"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
}

#[test]
fn an_unsure_transcript_is_asked_again_unless_it_fits_an_utterance() {
    check(
        "tiers llm.reflex\nvoice\nend 900\nheard 0.2 mumble mumble\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 900
            speech_ended {"audio_ms":900}
            END AUDIO
        0 heard 0.2 mumble mumble
            transcript_final {"confidence":0.20000000298023224,"text":"mumble mumble"}
            speaking_started {"text":"Sorry, I didn't catch that."}
            SPEAK 0: "Sorry, I didn't catch that."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 finished
            speaking_finished
            turn_failed {"failure":{"code":"not_understood","hop":"stt","message":"the transcript's confidence is 0.20, below 0.40"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
    check(
        "tiers llm.reflex\nvoice\nend 900\nheard 0.2 set a timer for one hour\ncancel",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 900
            speech_ended {"audio_ms":900}
            END AUDIO
        0 heard 0.2 set a timer for one hour
            transcript_final {"confidence":0.20000000298023224,"text":"set a timer for one hour"}
            intent_matched {"call":{"arguments":{"duration_s":3600},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":3600},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":3600}
        0 cancel
            CANCEL skill
            turn_ended {"class":"intent","end":"cancelled"}
    "#]],
    );
}

#[test]
fn without_a_model_the_user_is_told_so() {
    check(
        "text who was Ada Lovelace\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 text who was Ada Lovelace
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"who was Ada Lovelace"}
            speaking_started {"text":"Sorry, I can't answer that yet."}
            SPEAK 0: "Sorry, I can't answer that yet."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 finished
            speaking_finished
            turn_failed {"failure":{"code":"not_understood","hop":"plan","message":"no declared utterance fits and no language model is installed"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let (_, actions) =
        Turn::new(Start::Text { text: "a".repeat(100_000) }, Arc::default(), Arc::default(), Instant::now());
    assert!(
        matches!(&actions[1], Action::Emit(TurnEvent::SpeakingStarted { text }) if text.contains("too long")),
        "the user is told: {actions:?}"
    );
    assert!(actions.iter().all(|a| !format!("{a:?}").contains("aaaa")), "the text goes nowhere");
}

#[test]
fn a_model_calls_a_tool_and_words_its_result() {
    check(
        "
        tiers llm.big
        text which timers are there
        call 0.9 timer.list
        done
        returned
        delta There is one.
        done
        spoken 0
        sound
        finished
        ",
        expect![[r#"
            0 text which timers are there
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"which timers are there"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "which timers are there"
            0 call 0.9 timer.list
                tool_called {"call":{"arguments":{},"name":"timer.list"},"planned_by":{"by":"model","capability":"llm.big"}}
                CALL timer.list {}
            0 done
            0 returned
                tool_returned {"name":"timer.list","say":""}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "which timers are there", result of timer.list
            0 delta There is one.
                reply_delta {"text":"There is one."}
            0 done
                speaking_started {"text":"There is one."}
                SPEAK 0: "There is one."
                SPEECH COMPLETE
            0 spoken 0
            0 sound
                first_sound
            0 finished
                speaking_finished
                turn_ended {"class":"llm","end":"completed"}
        "#]],
    );
}

#[test]
fn a_late_end_of_the_first_reply_does_not_end_the_second() {
    check(
        "tiers llm.big\ntext which timers\ncall 0.9 timer.list\nreturned\ndelta One.\ncancel",
        expect![[r#"
        0 text which timers
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"which timers"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "which timers"
        0 call 0.9 timer.list
            tool_called {"call":{"arguments":{},"name":"timer.list"},"planned_by":{"by":"model","capability":"llm.big"}}
            CALL timer.list {}
        0 returned
            CANCEL llm
            tool_returned {"name":"timer.list","say":""}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "which timers", result of timer.list
        0 delta One.
            reply_delta {"text":"One."}
        0 cancel
            CANCEL llm
            turn_ended {"class":"llm","end":"cancelled"}
    "#]],
    );
}

#[test]
fn a_doubtful_tool_call_is_not_made() {
    check(
        "tiers llm.big\ntext do it\ncall 0.4 timer.cancel\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 text do it
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"do it"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "do it"
        0 call 0.4 timer.cancel
            CANCEL llm
            speaking_started {"text":"Sorry, I'm not sure what you want, so I did nothing."}
            SPEAK 0: "Sorry, I'm not sure what you want, so I did nothing."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 finished
            speaking_finished
            turn_failed {"failure":{"code":"not_understood","hop":"llm","message":"the call of `timer.cancel` has confidence 0.40, below 0.70"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
}

#[test]
fn a_model_that_keeps_calling_is_stopped() {
    check(
        "
        tiers llm.big
        text loop
        call 0.9 a
        done
        returned
        call 0.9 b
        done
        returned
        call 0.9 c
        done
        returned
        call 0.9 d
        cancel
        ",
        expect![[r#"
            0 text loop
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"loop"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "loop"
            0 call 0.9 a
                tool_called {"call":{"arguments":{},"name":"a"},"planned_by":{"by":"model","capability":"llm.big"}}
                CALL a {}
            0 done
            0 returned
                tool_returned {"name":"a","say":""}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "loop", result of a
            0 call 0.9 b
                tool_called {"call":{"arguments":{},"name":"b"},"planned_by":{"by":"model","capability":"llm.big"}}
                CALL b {}
            0 done
            0 returned
                tool_returned {"name":"b","say":""}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "loop", result of b
            0 call 0.9 c
                tool_called {"call":{"arguments":{},"name":"c"},"planned_by":{"by":"model","capability":"llm.big"}}
                CALL c {}
            0 done
            0 returned
                tool_returned {"name":"c","say":""}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "loop", result of c
            0 call 0.9 d
                CANCEL llm
                speaking_started {"text":"Sorry, I'm not sure what you want, so I did nothing."}
                SPEAK 0: "Sorry, I'm not sure what you want, so I did nothing."
                SPEECH COMPLETE
            0 cancel
                CANCEL tts
                STOP SPEAKING
                turn_ended {"class":"none","end":"cancelled"}
        "#]],
    );
}

#[test]
fn the_next_tier_answers_when_a_model_fails_or_is_slow() {
    check(
        "
        tiers llm.big llm.reflex
        text hello there
        deadline
        fail llm engine_lost
        spoken 0
        sound
        finished
        ",
        expect![[r#"
            0 text hello there
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"hello there"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "hello there"
            8000 deadline
                CANCEL llm
                degraded {"failure":{"code":"deadline_exceeded","hop":"llm","message":"the model's first word took longer than 8000 ms"}}
                reply_started {"capability":"llm.reflex","degraded":true}
                ASK llm.reflex: "hello there", degraded
            8000 fail llm engine_lost
                speaking_started {"text":"Sorry, I can't answer that right now."}
                SPEAK 0: "Sorry, I can't answer that right now."
                SPEECH COMPLETE
            8000 spoken 0
            8000 sound
                first_sound
            8000 finished
                speaking_finished
                turn_failed {"failure":{"code":"engine_lost","hop":"llm","message":"planted"}}
                turn_ended {"class":"none","end":"failed"}
        "#]],
    );
    check(
        "tiers llm.big llm.reflex\ntext hello\ndelta Hel\nfail llm engine_lost\ndelta Hi.\ndone\ncancel",
        expect![[r#"
        0 text hello
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"hello"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "hello"
        0 delta Hel
            reply_delta {"text":"Hel"}
        0 fail llm engine_lost
            degraded {"failure":{"code":"engine_lost","hop":"llm","message":"planted"}}
            reply_started {"capability":"llm.reflex","degraded":true}
            ASK llm.reflex: "hello", degraded
        0 delta Hi.
            reply_delta {"text":"Hi."}
        0 done
            speaking_started {"text":"Hi."}
            SPEAK 0: "Hi."
            SPEECH COMPLETE
        0 cancel
            CANCEL tts
            STOP SPEAKING
            turn_ended {"class":"reflex","end":"cancelled"}
    "#]],
    );
}

#[test]
fn an_answer_that_has_begun_aloud_is_not_begun_anew() {
    check(
        "tiers llm.big llm.reflex\ntext hello\ndelta I can help you. And\nspoken 0\nsound\nfail llm engine_lost\nspoken 1\nfinished",
        expect![[r#"
            0 text hello
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"hello"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "hello"
            0 delta I can help you. And
                reply_delta {"text":"I can help you. And"}
                speaking_started {"text":"I can help you."}
                SPEAK 0: "I can help you."
            0 spoken 0
            0 sound
                first_sound
            0 fail llm engine_lost
                speaking_started {"text":"Sorry, I can't finish this answer."}
                SPEAK 1: "Sorry, I can't finish this answer."
                SPEECH COMPLETE
            0 spoken 1
            0 finished
                speaking_finished
                turn_failed {"failure":{"code":"engine_lost","hop":"llm","message":"planted"}}
                turn_ended {"class":"llm","end":"failed"}
        "#]],
    );
}

#[test]
fn a_result_that_no_model_can_word_is_not_hidden() {
    check(
        "tiers llm.big\ntext add it\ncall 0.9 list.add\ndone\nreturned\nfail llm engine_lost\ncancel",
        expect![[r#"
        0 text add it
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"add it"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "add it"
        0 call 0.9 list.add
            tool_called {"call":{"arguments":{},"name":"list.add"},"planned_by":{"by":"model","capability":"llm.big"}}
            CALL list.add {}
        0 done
        0 returned
            tool_returned {"name":"list.add","say":""}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "add it", result of list.add
        0 fail llm engine_lost
            speaking_started {"text":"That is done, but I can't tell you more about it."}
            SPEAK 0: "That is done, but I can't tell you more about it."
            SPEECH COMPLETE
        0 cancel
            CANCEL tts
            STOP SPEAKING
            turn_ended {"class":"none","end":"cancelled"}
    "#]],
    );
}

#[test]
fn an_empty_reply_counts_as_a_fault_of_the_model() {
    check(
        "tiers llm.big\ntext hello\ndone\ncancel",
        expect![[r#"
        0 text hello
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"hello"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "hello"
        0 done
            speaking_started {"text":"Sorry, I can't answer that right now."}
            SPEAK 0: "Sorry, I can't answer that right now."
            SPEECH COMPLETE
        0 cancel
            CANCEL tts
            STOP SPEAKING
            turn_ended {"class":"none","end":"cancelled"}
    "#]],
    );
}

#[test]
fn a_refused_or_slow_tool_is_said() {
    check(
        "text set a timer for 5 minutes\ndenied permission_denied\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 denied permission_denied
            tool_denied {"failure":{"code":"permission_denied","hop":"skill","message":"refused"},"name":"timer.start"}
            speaking_started {"text":"Sorry, I am not allowed to do that."}
            SPEAK 0: "Sorry, I am not allowed to do that."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 finished
            speaking_finished
            turn_failed {"failure":{"code":"permission_denied","hop":"skill","message":"refused"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
    check(
        "text set a timer for 5 minutes\ndeadline\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        2000 deadline
            CANCEL skill
            tool_denied {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the tool took longer than 2000 ms"},"name":"timer.start"}
            speaking_started {"text":"Sorry, I don't know whether that worked."}
            SPEAK 0: "Sorry, I don't know whether that worked."
            SPEECH COMPLETE
        2000 spoken 0
        2000 sound
            first_sound
        2000 finished
            speaking_finished
            turn_failed {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the tool took longer than 2000 ms"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
}

#[test]
fn a_question_to_the_person_stops_the_clocks_and_has_an_end_itself() {
    // The tool has two seconds; the person takes twenty, and one second of the tool is left.
    check(
        "text set a timer for 5 minutes\n+1000 ask\nspoken 0\nsound\n+20000 tick\nasked\n+500 returned It is done.\nspoken 1\nfinished",
        expect![[r#"
            0 text set a timer for 5 minutes
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
                intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
                tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
                CALL timer.start {"duration_s":300}
            1000 +1000 ask
                speaking_started {"text":"I need your permission for that. Please confirm it on the screen."}
                SPEAK 0: "I need your permission for that. Please confirm it on the screen."
            1000 spoken 0
            1000 sound
                first_sound
            21000 +20000 tick
            21000 asked
            21500 +500 returned It is done.
                tool_returned {"name":"timer.start","say":"It is done."}
                speaking_started {"text":"It is done."}
                SPEAK 1: "It is done."
                SPEECH COMPLETE
            21500 spoken 1
            21500 finished
                speaking_finished
                turn_ended {"class":"intent","end":"completed"}
        "#]],
    );
    check(
        "text set a timer for 5 minutes\n+1000 ask\nspoken 0\nsound\n+20000 asked\ndeadline",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        1000 +1000 ask
            speaking_started {"text":"I need your permission for that. Please confirm it on the screen."}
            SPEAK 0: "I need your permission for that. Please confirm it on the screen."
        1000 spoken 0
        1000 sound
            first_sound
        21000 +20000 asked
        22000 deadline
            CANCEL skill
            tool_denied {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the tool took longer than 2000 ms"},"name":"timer.start"}
            speaking_started {"text":"Sorry, I don't know whether that worked."}
            SPEAK 1: "Sorry, I don't know whether that worked."
            SPEECH COMPLETE
    "#]],
    );
    // Nobody answers, and nobody says that the question is over.
    check(
        "text set a timer for 5 minutes\nask\nspoken 0\nsound\ndeadline\nspoken 1\nfinished",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 ask
            speaking_started {"text":"I need your permission for that. Please confirm it on the screen."}
            SPEAK 0: "I need your permission for that. Please confirm it on the screen."
        0 spoken 0
        0 sound
            first_sound
        90000 deadline
            CANCEL skill
            tool_denied {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the answer to a question took longer than 90000 ms"},"name":"timer.start"}
            speaking_started {"text":"Sorry, I don't know whether that worked."}
            SPEAK 1: "Sorry, I don't know whether that worked."
            SPEECH COMPLETE
        90000 spoken 1
        90000 finished
            speaking_finished
            turn_failed {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the answer to a question took longer than 90000 ms"}}
            turn_ended {"class":"intent","end":"failed"}
    "#]],
    );
    // All questions together have one time; a question outside of a tool's call is none.
    check(
        "text set a timer for 5 minutes\nask\nspoken 0\nsound\n+60000 asked\nask\ndeadline\nspoken 1\nfinished\nask",
        expect![[r#"
            0 text set a timer for 5 minutes
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
                intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
                tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
                CALL timer.start {"duration_s":300}
            0 ask
                speaking_started {"text":"I need your permission for that. Please confirm it on the screen."}
                SPEAK 0: "I need your permission for that. Please confirm it on the screen."
            0 spoken 0
            0 sound
                first_sound
            60000 +60000 asked
            60000 ask
            90000 deadline
                CANCEL skill
                tool_denied {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the answer to a question took longer than 90000 ms"},"name":"timer.start"}
                speaking_started {"text":"Sorry, I don't know whether that worked."}
                SPEAK 1: "Sorry, I don't know whether that worked."
                SPEECH COMPLETE
            90000 spoken 1
            90000 finished
                speaking_finished
                turn_failed {"failure":{"code":"deadline_exceeded","hop":"skill","message":"the answer to a question took longer than 90000 ms"}}
                turn_ended {"class":"intent","end":"failed"}
            90000 ask
        "#]],
    );
    check(
        "text set a timer for 5 minutes\nask\nspoken 0\nsound\n+60000 cancel",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 ask
            speaking_started {"text":"I need your permission for that. Please confirm it on the screen."}
            SPEAK 0: "I need your permission for that. Please confirm it on the screen."
        0 spoken 0
        0 sound
            first_sound
        60000 +60000 cancel
            CANCEL skill
            STOP SPEAKING
            turn_ended {"class":"intent","end":"cancelled"}
    "#]],
    );
}

#[test]
fn speech_recognition_that_fails_or_hangs_is_said() {
    check(
        "voice\nend 800\nfail stt engine_lost\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 800
            speech_ended {"audio_ms":800}
            END AUDIO
        0 fail stt engine_lost
            speaking_started {"text":"Sorry, I couldn't listen to that."}
            SPEAK 0: "Sorry, I couldn't listen to that."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 finished
            speaking_finished
            turn_failed {"failure":{"code":"engine_lost","hop":"stt","message":"planted"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
    check(
        "voice\nend 800\ndeadline\nspoken 0\nsound\nfinished",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 800
            speech_ended {"audio_ms":800}
            END AUDIO
        6000 deadline
            CANCEL stt
            speaking_started {"text":"Sorry, I couldn't listen to that."}
            SPEAK 0: "Sorry, I couldn't listen to that."
            SPEECH COMPLETE
        6000 spoken 0
        6000 sound
            first_sound
        6000 finished
            speaking_finished
            turn_failed {"failure":{"code":"deadline_exceeded","hop":"stt","message":"the final transcript took longer than 6000 ms"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
    check(
        "voice\nheard 0.9 set a timer for one hour\ncancel",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 heard 0.9 set a timer for one hour
            speaking_started {"text":"Sorry, I couldn't listen to that."}
            SPEAK 0: "Sorry, I couldn't listen to that."
            SPEECH COMPLETE
        0 cancel
            CANCEL tts
            STOP SPEAKING
            turn_ended {"class":"none","end":"cancelled"}
    "#]],
    );
}

#[test]
fn a_lost_end_of_speech_does_not_keep_the_turn_open() {
    check(
        "voice\nspeech\ndeadline\ndeadline",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 speech
            speech_started
        35000 deadline
            CANCEL stt
            speaking_started {"text":"Sorry, that was too long for me."}
            SPEAK 0: "Sorry, that was too long for me."
            SPEECH COMPLETE
        40000 deadline
            CANCEL tts
            STOP SPEAKING
            turn_failed {"failure":{"code":"audio_too_long","hop":"input","message":"no end of speech within 35 s"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
}

#[test]
fn without_speech_the_answer_is_still_given_as_text() {
    check(
        "text set a timer for 5 minutes\nreturned Timer set.\nfail tts engine_lost",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 returned Timer set.
            tool_returned {"name":"timer.start","say":"Timer set."}
            speaking_started {"text":"Timer set."}
            SPEAK 0: "Timer set."
            SPEECH COMPLETE
        0 fail tts engine_lost
            CANCEL tts
            STOP SPEAKING
            turn_failed {"failure":{"code":"engine_lost","hop":"tts","message":"planted"}}
            turn_ended {"class":"intent","end":"failed"}
    "#]],
    );
    check(
        "text set a timer for 5 minutes\nreturned Timer set.\ndeadline",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 returned Timer set.
            tool_returned {"name":"timer.start","say":"Timer set."}
            speaking_started {"text":"Timer set."}
            SPEAK 0: "Timer set."
            SPEECH COMPLETE
        5000 deadline
            CANCEL tts
            STOP SPEAKING
            turn_failed {"failure":{"code":"deadline_exceeded","hop":"tts","message":"the first sound took longer than 5000 ms"}}
            turn_ended {"class":"intent","end":"failed"}
    "#]],
    );
    check(
        "tiers llm.big\ntext hello\ndelta Hello there. How\nspoken 0\nsound\ndelta  are you. I\nfail tts engine_fault\ndelta  am well.\ndone\nfinished",
        expect![[r#"
            0 text hello
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"hello"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "hello"
            0 delta Hello there. How
                reply_delta {"text":"Hello there. How"}
                speaking_started {"text":"Hello there."}
                SPEAK 0: "Hello there."
            0 spoken 0
            0 sound
                first_sound
            0 delta  are you. I
                reply_delta {"text":" are you. I"}
                speaking_started {"text":"How are you."}
                SPEAK 1: "How are you."
            0 fail tts engine_fault
                CANCEL tts
            0 delta  am well.
                reply_delta {"text":" am well."}
            0 done
                SPEECH COMPLETE
            0 finished
                speaking_finished
                turn_failed {"failure":{"code":"engine_fault","hop":"tts","message":"planted"}}
                turn_ended {"class":"llm","end":"failed"}
        "#]],
    );
    check(
        "text set a timer for 5 minutes\nreturned Timer set.\nspoken 0\nsound\nfail output engine_lost",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 returned Timer set.
            tool_returned {"name":"timer.start","say":"Timer set."}
            speaking_started {"text":"Timer set."}
            SPEAK 0: "Timer set."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        0 fail output engine_lost
            CANCEL tts
            STOP SPEAKING
            turn_failed {"failure":{"code":"engine_lost","hop":"output","message":"planted"}}
            turn_ended {"class":"intent","end":"failed"}
    "#]],
    );
}

#[test]
fn playback_that_never_ends_is_ended() {
    check(
        "text set a timer for 5 minutes\nreturned Timer set.\nspoken 0\nsound\ndeadline",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 returned Timer set.
            tool_returned {"name":"timer.start","say":"Timer set."}
            speaking_started {"text":"Timer set."}
            SPEAK 0: "Timer set."
            SPEECH COMPLETE
        0 spoken 0
        0 sound
            first_sound
        6500 deadline
            CANCEL tts
            STOP SPEAKING
            turn_failed {"failure":{"code":"deadline_exceeded","hop":"output","message":"speech did not end in the time that its text needs"}}
            turn_ended {"class":"intent","end":"failed"}
    "#]],
    );
}

#[test]
fn a_drain_between_two_clauses_is_not_the_end() {
    check(
        "tiers llm.big\ntext hello\ndelta Hello there. How\nspoken 0\nsound\nfinished\ndelta  are you?\ndone\nfinished\nspoken 1",
        expect![[r#"
            0 text hello
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"hello"}
                reply_started {"capability":"llm.big","degraded":false}
                ASK llm.big: "hello"
            0 delta Hello there. How
                reply_delta {"text":"Hello there. How"}
                speaking_started {"text":"Hello there."}
                SPEAK 0: "Hello there."
            0 spoken 0
            0 sound
                first_sound
            0 finished
            0 delta  are you?
                reply_delta {"text":" are you?"}
            0 done
                speaking_started {"text":"How are you?"}
                SPEAK 1: "How are you?"
                SPEECH COMPLETE
            0 finished
            0 spoken 1
                speaking_finished
                turn_ended {"class":"llm","end":"completed"}
        "#]],
    );
}

#[test]
fn a_cancel_stops_whatever_runs() {
    check(
        "voice\nspeech\ncancel",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 speech
            speech_started
        0 cancel
            CANCEL stt
            turn_ended {"class":"none","end":"cancelled"}
    "#]],
    );
    check(
        "voice\nend 500\ncancel",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 500
            speech_ended {"audio_ms":500}
            END AUDIO
        0 cancel
            CANCEL stt
            turn_ended {"class":"none","end":"cancelled"}
    "#]],
    );
    check(
        "text set a timer for 5 minutes\ncancel",
        expect![[r#"
        0 text set a timer for 5 minutes
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"set a timer for 5 minutes"}
            intent_matched {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"leftover":"","template":"set a timer for {duration_s:duration}"}
            tool_called {"call":{"arguments":{"duration_s":300},"name":"timer.start"},"planned_by":{"by":"intent","leftover":"","template":"set a timer for {duration_s:duration}"}}
            CALL timer.start {"duration_s":300}
        0 cancel
            CANCEL skill
            turn_ended {"class":"intent","end":"cancelled"}
    "#]],
    );
    check(
        "tiers llm.big\ntext hello\ncall 0.9 timer.list\ncancel",
        expect![[r#"
        0 text hello
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"hello"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "hello"
        0 call 0.9 timer.list
            tool_called {"call":{"arguments":{},"name":"timer.list"},"planned_by":{"by":"model","capability":"llm.big"}}
            CALL timer.list {}
        0 cancel
            CANCEL skill
            CANCEL llm
            turn_ended {"class":"llm","end":"cancelled"}
    "#]],
    );
    check(
        "tiers llm.big\ntext hello\ndelta Hello there. How\nspoken 0\nsound\nbarge-in",
        expect![[r#"
        0 text hello
            turn_started {"source":"text"}
            transcript_final {"confidence":1.0,"text":"hello"}
            reply_started {"capability":"llm.big","degraded":false}
            ASK llm.big: "hello"
        0 delta Hello there. How
            reply_delta {"text":"Hello there. How"}
            speaking_started {"text":"Hello there."}
            SPEAK 0: "Hello there."
        0 spoken 0
        0 sound
            first_sound
        0 barge-in
            CANCEL llm
            STOP SPEAKING
            turn_ended {"class":"llm","end":"cancelled"}
    "#]],
    );
}

#[test]
fn the_whole_turn_has_a_deadline() {
    check(
        "tiers a b c\ntext hello\n+7900 fail llm engine_lost\n+7900 delta x\n+21000 tick\n+7900 tick\ndeadline\nspoken 0\nsound\nfinished",
        expect![[r#"
            0 text hello
                turn_started {"source":"text"}
                transcript_final {"confidence":1.0,"text":"hello"}
                reply_started {"capability":"a","degraded":false}
                ASK a: "hello"
            7900 +7900 fail llm engine_lost
                degraded {"failure":{"code":"engine_lost","hop":"llm","message":"planted"}}
                reply_started {"capability":"b","degraded":true}
                ASK b: "hello", degraded
            15800 +7900 delta x
                reply_delta {"text":"x"}
            36800 +21000 tick
            44700 +7900 tick
                CANCEL llm
                degraded {"failure":{"code":"deadline_exceeded","hop":"llm","message":"the model's reply took longer than 30000 ms"}}
                reply_started {"capability":"c","degraded":true}
                ASK c: "hello", degraded
            45000 deadline
                CANCEL llm
                speaking_started {"text":"Sorry, that took me too long."}
                SPEAK 0: "Sorry, that took me too long."
                SPEECH COMPLETE
            45000 spoken 0
            45000 sound
                first_sound
            45000 finished
                speaking_finished
                turn_failed {"failure":{"code":"deadline_exceeded","hop":"llm","message":"the turn took longer than 45000 ms"}}
                turn_ended {"class":"none","end":"failed"}
        "#]],
    );
}

#[test]
fn a_lost_bus_ends_the_turn_at_once() {
    check(
        "voice\nend 500\nfail hub bus_unavailable",
        expect![[r#"
        0 voice
            turn_started {"source":"push_to_talk"}
            OPEN STT
        0 end 500
            speech_ended {"audio_ms":500}
            END AUDIO
        0 fail hub bus_unavailable
            CANCEL stt
            turn_failed {"failure":{"code":"bus_unavailable","hop":"hub","message":"planted"}}
            turn_ended {"class":"none","end":"failed"}
    "#]],
    );
}

/// Runs a script and compares everything that the machine does.
///
/// One input per line; `+ms` before it lets time pass, `deadline` lets it pass until
/// the next deadline.
fn check(script: &str, expected: Expect) {
    let mut runner = Runner::default();
    for line in script.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        runner.line(line);
    }
    expected.assert_eq(&runner.log);
}

struct Runner {
    settings: TurnSettings,
    turn: Option<Turn>,
    origin: Instant,
    now: Instant,
    log: String,
}

impl Default for Runner {
    fn default() -> Self {
        let now = Instant::now();
        Self { settings: TurnSettings::default(), turn: None, origin: now, now, log: String::new() }
    }
}

impl Runner {
    fn line(&mut self, line: &str) {
        let mut rest = line;
        if let Some((ms, after)) = line.strip_prefix('+').and_then(|l| l.split_once(' ')) {
            self.now += Duration::from_millis(ms.parse().unwrap());
            rest = after;
        }
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let input = match word {
            "tiers" => {
                self.settings.llm_tiers = rest.split(' ').map(str::to_owned).collect();
                return;
            }
            "voice" => return self.start(line, Start::Voice { source: TurnSource::PushToTalk }),
            "text" => return self.start(line, Start::Text { text: rest.to_owned() }),
            "deadline" => {
                self.now = self.turn.as_ref().unwrap().next_deadline().unwrap();
                Input::Tick
            }
            "speech" => Input::SpeechStarted,
            "end" => Input::SpeechEnded { audio_ms: rest.parse().unwrap() },
            "partial" => Input::TranscriptPartial { text: rest.to_owned() },
            "heard" => {
                let (confidence, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Input::TranscriptFinal { text: text.to_owned(), confidence: confidence.parse().unwrap() }
            }
            "delta" => Input::ReplyDelta { text: rest.to_owned() },
            "call" => {
                let (confidence, name) = rest.split_once(' ').unwrap();
                let call = ToolCall { name: name.to_owned(), arguments: serde_json::Map::new() };
                Input::ModelToolCall { call, confidence: confidence.parse().unwrap() }
            }
            "done" => Input::ReplyDone,
            "returned" => Input::ToolReturned { outcome: ToolOutcome { say: rest.to_owned(), data: json!({"n": 1}) } },
            "denied" => Input::ToolDenied { failure: Failure::new(Hop::Skill, code(rest), "refused") },
            "ask" => Input::ConsentPending,
            "asked" => Input::ConsentOver,
            "spoken" => Input::ClauseSpoken { clause: rest.parse().unwrap() },
            "sound" => Input::FirstSound,
            "finished" => Input::PlaybackFinished,
            "fail" => {
                let (hop, rest) = rest.split_once(' ').unwrap();
                let hop = *Hop::ALL.iter().find(|h| h.as_str() == hop).unwrap();
                Input::Failed { failure: Failure::new(hop, code(rest), "planted") }
            }
            "cancel" => Input::Cancel,
            "barge-in" => Input::BargeIn,
            "tick" => Input::Tick,
            other => panic!("no such input: {other}"),
        };
        let actions = self.turn.as_mut().unwrap().handle(input, self.now);
        self.record(line, &actions);
    }

    fn start(&mut self, line: &str, start: Start) {
        let intents = IntentIndex::compile(&[IntentDecl {
            tool: "timer.start".to_owned(),
            say: vec!["set a timer for {duration_s:duration}".to_owned()],
        }])
        .unwrap();
        let settings = Arc::new(self.settings.clone());
        let (turn, actions) = Turn::new(start, settings, Arc::new(intents), self.now);
        self.turn = Some(turn);
        self.record(line, &actions);
    }

    fn record(&mut self, line: &str, actions: &[Action]) {
        let at = (self.now - self.origin).as_millis();
        self.log.push_str(&format!("{at} {}\n", line.escape_debug()));
        for action in actions {
            self.log.push_str(&format!("    {}\n", show(action)));
        }
    }
}

fn code(text: &str) -> ErrorCode {
    *ErrorCode::ALL.iter().find(|c| c.as_str() == text).unwrap()
}

fn show(action: &Action) -> String {
    match action {
        Action::Emit(event) => {
            let mut value = serde_json::to_value(event).unwrap();
            let fields = value.as_object_mut().unwrap();
            fields.remove("type");
            if fields.get("latency_ms").is_some_and(serde_json::Value::is_null) {
                fields.remove("latency_ms");
            }
            if fields.is_empty() { event.name().to_owned() } else { format!("{} {value}", event.name()) }
        }
        Action::CallTool { call } => format!("CALL {} {}", call.name, json!(call.arguments)),
        Action::StartReply { capability, prompt_text, degraded, tool_result } => {
            let result = tool_result.as_ref().map_or(String::new(), |(call, _)| format!(", result of {}", call.name));
            let degraded = if *degraded { ", degraded" } else { "" };
            format!("ASK {capability}: {prompt_text:?}{degraded}{result}")
        }
        Action::Speak { clause, text } => format!("SPEAK {clause}: {text:?}"),
        Action::Cancel { hop } => format!("CANCEL {hop}"),
        Action::OpenStt => "OPEN STT".to_owned(),
        Action::EndAudio => "END AUDIO".to_owned(),
        Action::SpeechComplete => "SPEECH COMPLETE".to_owned(),
        Action::StopSpeaking => "STOP SPEAKING".to_owned(),
    }
}
