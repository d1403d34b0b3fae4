// Runs evaluation cases through unmodified llama.cpp, one thread, greedy, held to a grammar.
//   check MODEL.gguf < cases.tsv > results.tsv
// Input lines:  S <tab> tool names separated by spaces <tab> grammar with \x01 for newline
//               U <tab> what was said
// Output lines: lowest token probability <tab> 1 if the grammar overrode the model <tab> milliseconds <tab> answer
#include "llama.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

static std::vector<llama_token> tokens(const llama_vocab *vocab, const std::string &text) {
    std::vector<llama_token> out(text.size() + 16);
    int n = llama_tokenize(vocab, text.data(), (int)text.size(), out.data(), (int)out.size(), false, true);
    out.resize(n > 0 ? n : 0);
    return out;
}

int main(int argc, char **argv) {
    if (argc < 2) { fprintf(stderr, "usage: check MODEL.gguf < cases.tsv\n"); return 2; }
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    auto model_options = llama_model_default_params();
    llama_model *model = llama_model_load_from_file(argv[1], model_options);
    if (!model) { fprintf(stderr, "cannot load %s\n", argv[1]); return 3; }
    auto options = llama_context_default_params();
    options.n_ctx = options.n_batch = options.n_ubatch = 512;
    options.n_threads = options.n_threads_batch = 1;
    llama_context *context = llama_init_from_model(model, options);
    const llama_vocab *vocab = llama_model_get_vocab(model);
    const int size = llama_vocab_n_tokens(vocab);
    llama_batch batch = llama_batch_init(512, 0, 1);
    auto feed = [&](const std::vector<llama_token> &ids, int at) {
        batch.n_tokens = (int)ids.size();
        for (int i = 0; i < batch.n_tokens; i++) {
            batch.token[i] = ids[i]; batch.pos[i] = at + i; batch.n_seq_id[i] = 1; batch.seq_id[i][0] = 0; batch.logits[i] = i + 1 == batch.n_tokens;
        }
        if (llama_decode(context, batch)) { fprintf(stderr, "decode failed\n"); exit(4); }
    };
    std::string line, grammar;
    int prefix = 0;
    while (std::getline(std::cin, line)) {
        if (line.size() < 2) continue;
        std::string rest = line.substr(2);
        if (line[0] == 'S') {
            size_t tab = rest.find('\t');
            grammar = rest.substr(tab + 1);
            for (char &c : grammar) if (c == '\x01') c = '\n';
            auto ids = tokens(vocab, "<s><|tools|> " + rest.substr(0, tab));
            llama_memory_clear(llama_get_memory(context), true);
            feed(ids, 0);
            prefix = (int)ids.size();
            continue;
        }
        auto began = std::chrono::steady_clock::now();
        llama_memory_seq_rm(llama_get_memory(context), 0, prefix, -1);
        llama_sampler *held = llama_sampler_init_grammar(vocab, grammar.c_str(), "root");
        if (!held) { fprintf(stderr, "bad grammar\n"); return 5; }
        auto ids = tokens(vocab, "<|user|> " + rest + "<|out|>");
        feed(ids, prefix);
        int at = prefix + (int)ids.size(), count = 0;
        double lowest = 1;
        bool overrode = false;
        std::string answer;
        for (;;) {
            const float *logits = llama_get_logits_ith(context, -1);
            int best = 0;
            for (int i = 1; i < size; i++) if (logits[i] > logits[best]) best = i;
            float top = logits[best];
            llama_token_data one{best, top, 0};
            llama_token_data_array single{&one, 1, -1, false};
            llama_sampler_apply(held, &single);
            if (!std::isfinite(one.logit)) {
                overrode = true;
                std::vector<llama_token_data> all(size);
                for (int i = 0; i < size; i++) all[i] = {i, logits[i], 0};
                llama_token_data_array every{all.data(), (size_t)size, -1, false};
                llama_sampler_apply(held, &every);
                int pick = -1;
                for (int i = 0; i < size; i++) if (std::isfinite(all[i].logit) && (pick < 0 || all[i].logit > all[pick].logit)) pick = i;
                if (pick < 0) break;
                best = all[pick].id;
            }
            double sum = 0;
            for (int i = 0; i < size; i++) sum += std::exp(logits[i] - top);
            lowest = std::min(lowest, std::exp((double)logits[best] - top) / sum);
            if (llama_vocab_is_eog(vocab, best) || count++ >= 80) break;
            llama_sampler_accept(held, best);
            char piece[256];
            int n = llama_token_to_piece(vocab, best, piece, sizeof piece, 0, false);
            if (n > 0) answer.append(piece, n);
            feed({best}, at++);
        }
        llama_sampler_free(held);
        double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
        printf("%.5f\t%d\t%.2f\t%s\n", lowest, overrode, ms, answer.c_str());
        fflush(stdout);
    }
}
