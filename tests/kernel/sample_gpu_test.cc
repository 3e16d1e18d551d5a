// Sampling on the device against the host's: the same calls to both samplers, and draws against
// the order of tokens and their weights in double precision.
#include <algorithm>
#include <string>

#include "tests/kernel/sampler_rig.h"
#include "worker/sampling/philox.h"

namespace headgate {
namespace {

TEST(GpuSampleTest, GreedyTakesTheFirstOfTheBest) {
  for (const int64_t vocab : {1, 2, 31, 49152, 128256}) {
    SamplerRig rig(vocab);
    for (SequenceId id = 1; id <= kRowsMax; ++id) rig.Add(id, {});
    for (const int64_t rows : {1, 2, 5, 16, 17, 33, 64, 65, 130}) {
      std::vector<float> logits;
      std::vector<LogitUse> uses;
      for (int64_t row = 0; row < rows; ++row) {
        const auto one =
            MakeLogits(vocab, static_cast<int>(row % kLogitKinds), static_cast<uint32_t>(row));
        logits.insert(logits.end(), one.begin(), one.end());
        uses.push_back(Sampled(static_cast<SequenceId>(row + 1)));
      }
      const auto [device, host] = rig.Run(logits, uses);
      ASSERT_EQ(device.size(), host.size());
      for (size_t i = 0; i < device.size(); ++i) {
        EXPECT_FALSE(device[i].sampled.failed);
        EXPECT_EQ(device[i].sampled.token, host[i].sampled.token)
            << vocab << ", row " << i << " of " << rows;
        EXPECT_TRUE(device[i].sampled.top.empty());
      }
    }
  }
}

TEST(GpuSampleTest, NonFiniteLogitsFailTheirRowAlone) {
  for (const int64_t vocab : {1, 31, 49152}) {
    SamplerRig rig(vocab);
    const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    std::vector<float> logits;
    std::vector<LogitUse> uses;
    for (size_t row = 0; row < 9; ++row) {
      SamplingParams params;
      params.temperature = row % 2 == 0 ? 0.0f : 1.0f;
      params.top_k = row % 4 == 3 ? 3 : 0;
      params.presence_penalty = row == 4 ? 1.0f : 0.0f;
      params.top_logprobs = row % 3 == 0 ? 2 : -1;
      rig.Add(row + 1, params);
      uses.push_back(Sampled(row + 1));
      uses.back().target = row == 3 ? 0 : kNoTarget;
      auto one = MakeLogits(vocab, 3, static_cast<uint32_t>(row));
      if (row < 4) one[(row * 7919 + 5) % one.size()] = bad[row];
      if (row == 4) one.back() = NAN;
      logits.insert(logits.end(), one.begin(), one.end());
    }
    const auto [device, host] = rig.Run(logits, uses);
    for (size_t row = 0; row < 9; ++row) {
      EXPECT_EQ(device[row].sampled.failed, row < 5) << vocab << " " << row;
      EXPECT_EQ(host[row].sampled.failed, row < 5);
      EXPECT_EQ(rig.LastToken(row + 1), row < 5 ? kTokenOfFailed : device[row].sampled.token);
    }
    EXPECT_TRUE(device[3].scored.failed);
  }
}

TEST(GpuSampleTest, PenaltiesThatOverflowFail) {
  SamplerRig rig(31);
  SamplingParams params;
  params.repetition_penalty = 1e-6f;
  rig.Add({1, params, 0, 1});
  std::vector<float> logits(31, 1e35f);
  const Batch batch{{3}, {0}, {{1, 0, 0, 1}}, {0}};
  const auto [device, host] = rig.Run(logits, {Sampled(1)}, batch);
  EXPECT_TRUE(host[0].sampled.failed);
  EXPECT_TRUE(device[0].sampled.failed);
}

std::vector<SamplingParams> Parameters() {
  std::vector<SamplingParams> all;
  const auto add = [&](float temperature, int32_t top_k, float top_p, float min_p) {
    SamplingParams params;
    params.temperature = temperature;
    params.top_k = top_k;
    params.top_p = top_p;
    params.min_p = min_p;
    params.seed = all.size() * 77 + 5;
    all.push_back(params);
  };
  for (const float temperature : {1.0f, 0.7f, 1e-3f, 1e-38f, 1e-42f, 2.0f, 100.0f}) {
    add(temperature, 0, 1.0f, 0.0f);
    add(temperature, 0, 0.9f, 0.0f);
    add(temperature, 50, 0.95f, 0.0f);
  }
  for (const int32_t top_k : {1, 2, 5, 1000, 5000, 40000, 128255, 128256, 1 << 20}) {
    add(1.0f, top_k, 1.0f, 0.0f);
    add(1.0f, top_k, 0.5f, 0.0f);
  }
  for (const float top_p : {1e-9f, 0.1f, 0.5f, 0.999f, 0.99999994f}) add(1.0f, 0, top_p, 0.0f);
  for (const float min_p : {1e-9f, 0.001f, 0.1f, 0.9f, 1.0f}) {
    add(1.3f, 0, 1.0f, min_p);
    add(1.3f, 40, 1.0f, min_p);
    add(1.3f, 0, 0.8f, min_p);
    add(1.3f, 4000, 0.8f, min_p);
  }
  return all;
}

void CompareDraws(int64_t vocab, int kind) {
  SamplerRig rig(vocab);
  const std::vector<SamplingParams> parameters = Parameters();
  std::vector<float> logits;
  std::vector<LogitUse> uses;
  for (size_t i = 0; i < parameters.size(); ++i) {
    rig.Add(i + 1, parameters[i]);
    uses.push_back(Sampled(i + 1, static_cast<int64_t>(i * i)));
    const auto one = MakeLogits(vocab, kind, static_cast<uint32_t>(i));
    logits.insert(logits.end(), one.begin(), one.end());
  }
  // All at once and twice (one block per row), and in small calls (several).
  std::vector<float> twice = logits;
  std::vector<LogitUse> twice_uses = uses;
  twice.insert(twice.end(), logits.begin(), logits.end());
  twice_uses.insert(twice_uses.end(), uses.begin(), uses.end());
  const auto [device, host] = rig.Run(twice, twice_uses);
  std::vector<LogitOutcome> again;
  const auto width = static_cast<size_t>(vocab);
  rig.Begin({});
  for (size_t at = 0; at < uses.size();) {
    const size_t count = std::min(uses.size() - at, at % 3 == 0 ? size_t{5} : size_t{20});
    std::vector<float> part(logits.begin() + static_cast<std::ptrdiff_t>(at * width),
                            logits.begin() + static_cast<std::ptrdiff_t>((at + count) * width));
    rig.Choose(part, {uses.begin() + static_cast<std::ptrdiff_t>(at),
                      uses.begin() + static_cast<std::ptrdiff_t>(at + count)});
    at += count;
  }
  rig.End();
  again = rig.AwaitDevice();
  rig.AwaitHost();
  ASSERT_EQ(again.size() * 2, device.size());
  size_t others = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const TokenId token = device[i].sampled.token;
    const std::string name = "vocabulary " + std::to_string(vocab) + ", kind " +
                             std::to_string(kind) + ", parameters " + std::to_string(i);
    EXPECT_FALSE(device[i].sampled.failed) << name;
    EXPECT_EQ(again[i].sampled.token, token) << name << ", by other blocks";
    others += token != host[i].sampled.token ? 1 : 0;
    ExpectDraw(Row(logits, i, width), parameters[i],
               UniformForToken(parameters[i].seed, uses[i].token_index), token, name);
  }
  // Light tokens have many boundaries, heavy ones few.
  EXPECT_LE(others, vocab < 100 || kind >= 5 ? 1u : parameters.size() / 2);
}

TEST(GpuSampleTest, DrawsFollowTheDefinitionOfSmallRows) {
  for (const int64_t vocab : {1, 2, 31, 1000}) {
    for (int kind = 0; kind < kLogitKinds; ++kind) CompareDraws(vocab, kind);
  }
}

class GpuSampleManyTest : public testing::TestWithParam<int> {};

TEST_P(GpuSampleManyTest, DrawsFollowTheDefinitionOfLargeRows) {
  for (const int64_t vocab : {49152, 128256}) CompareDraws(vocab, GetParam());
  if (GetParam() == 3) CompareDraws(128257, 3);
  if (GetParam() == 2) CompareDraws(300000, 2);
}

INSTANTIATE_TEST_SUITE_P(Kinds, GpuSampleManyTest, testing::Range(0, kLogitKinds));

TEST(GpuSampleTest, LogprobsScoresAndTheBest) {
  for (const int64_t vocab : {1, 2, 31, 4099, 128256}) {
    SamplerRig rig(vocab);
    const int counts[] = {0, 1, 5, 20};
    std::vector<float> logits;
    std::vector<LogitUse> uses;
    for (size_t i = 0; i < 4 * kLogitKinds; ++i) {
      SamplingParams params;
      params.temperature = i % 3 == 0 ? 0.0f : 0.8f;
      params.top_p = i % 3 == 1 ? 0.9f : 1.0f;
      params.top_logprobs = counts[i % 4];
      rig.Add(i + 1, params);
      const auto one = MakeLogits(vocab, static_cast<int>(i / 4), static_cast<uint32_t>(i));
      logits.insert(logits.end(), one.begin(), one.end());
      LogitUse use = Sampled(i + 1);
      if (i % 2 == 0) use.target = static_cast<TokenId>(static_cast<int64_t>(i * i * 911) % vocab);
      if (i == 9) use.target = static_cast<TokenId>(vocab);
      if (i == 10) use.target = -7;
      if (i % 5 == 4) use.sample = false;
      uses.push_back(use);
    }
    const auto [device, host] = rig.Run(logits, uses);
    for (size_t i = 0; i < uses.size(); ++i) {
      const std::string name = "vocabulary " + std::to_string(vocab) + ", row " + std::to_string(i);
      const SampledToken& got = device[i].sampled;
      const SampledToken& want = host[i].sampled;
      if (uses[i].sample && got.token == want.token) {
        ExpectLogprob(got.logprob, want.logprob, name);
      }
      ASSERT_EQ(got.top.size(), want.top.size()) << name;
      for (size_t j = 0; j < want.top.size(); ++j) {
        EXPECT_EQ(got.top[j].token, want.top[j].token) << name << ", best " << j;
        ExpectLogprob(got.top[j].logprob, want.top[j].logprob, name);
      }
      const ScoredToken& scored = device[i].scored;
      EXPECT_EQ(scored.failed, host[i].scored.failed) << name;
      EXPECT_EQ(scored.top, host[i].scored.top) << name;
      ExpectLogprob(scored.logprob, host[i].scored.logprob, name);
    }
  }
}

// Sequences of all kinds of penalties, prompts in chunks, replays, then decode steps whose tokens
// the host sees late; a place is used again.
void ComparePenalties(int64_t vocab, size_t sequences, int steps) {
  SamplerRig rig(vocab);
  std::mt19937 random(7);
  const auto width = static_cast<size_t>(vocab);
  std::vector<int64_t> positions(sequences, 0);
  const auto start = [&](SequenceId id) {
    SamplingParams params;
    const uint64_t i = id % 7;
    params.temperature = id % 2 == 0 ? 0.0f : 1.0f;
    params.top_k = id % 3 == 0 ? 4 : 0;
    params.seed = id;
    if (i == 1 || i > 3) params.repetition_penalty = i == 5 ? 0.7f : 1.4f;
    if (i == 2 || i > 4) params.presence_penalty = i == 6 ? -0.5f : 0.8f;
    if (i == 3 || i > 3) params.frequency_penalty = 0.3f;
    if (id % 4 == 1) params.top_logprobs = 3;
    rig.Add({id, params, static_cast<int64_t>(id), 3});  // replays what follows 3 tokens
  };
  for (SequenceId id = 1; id <= sequences; ++id) start(id);
  size_t compared = 0;
  for (int step = 0; step < steps; ++step) {
    Batch batch;
    std::vector<float> logits;
    std::vector<LogitUse> uses;
    if (step == 12) {  // those before it are awaited
      rig.Remove(1);
      start(1);
      positions[0] = 0;
    }
    for (size_t i = 0; i < sequences; ++i) {
      const SequenceId id = i + 1;
      const bool prefills = positions[i] < 6;
      const int64_t length = prefills ? 2 + static_cast<int64_t>(i % 2) : 1;
      batch.sequences.push_back({id, positions[i], batch.rows(), length});
      for (int64_t j = 0; j < length; ++j) {
        batch.positions.push_back(static_cast<int32_t>(positions[i] + j));
        batch.tokens.push_back(prefills ? static_cast<TokenId>(random() % width % 20)
                                        : kLastSampled);
      }
      positions[i] += length;
      // Heavy tokens, so that both samplers draw alike.
      std::vector<float> row(width, -9.0f);
      for (size_t j = 0; j < std::min<size_t>(width, 20); ++j) {
        row[j] = static_cast<float>(random() % 1000) * 1e-3f;
      }
      logits.insert(logits.end(), row.begin(), row.end());
      uses.push_back(Sampled(id, static_cast<int64_t>(id) + step));
    }
    rig.Begin(batch);
    rig.Choose(logits, uses);
    rig.End();
    if (step % 3 != 2 && step + 1 < steps) continue;
    for (int late = step % 3; late >= 0; --late) {
      const auto device = rig.AwaitDevice(), host = rig.AwaitHost();
      for (size_t i = 0; i < sequences; ++i, ++compared) {
        ASSERT_EQ(device[i].sampled.token, host[i].sampled.token)
            << "vocabulary " << vocab << ", step " << step << ", sequence " << i + 1;
        ExpectLogprob(device[i].sampled.logprob, host[i].sampled.logprob,
                      "step " + std::to_string(step));
      }
    }
  }
  EXPECT_EQ(compared, sequences * static_cast<size_t>(steps));
}

TEST(GpuSampleTest, PenaltiesFollowWhatIsFed) {
  ComparePenalties(31, 21, 30);
  ComparePenalties(32, 21, 30);
}

TEST(GpuSampleTest, PenaltiesOfManyTokensFollowWhatIsFed) {
  ComparePenalties(49152, 14, 30);
  ComparePenalties(128257, 7, 15);
}

TEST(GpuSampleTest, CountsEndAtTheirLargest) {
  constexpr int64_t kVocab = 31;
  SamplerRig rig(kVocab);
  SamplingParams params;
  params.frequency_penalty = 0.001f;
  rig.Add({1, params, 0, 0});
  Batch batch;
  batch.tokens.assign(5000, 4);
  batch.positions.resize(5000);
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.sequences = {{1, 0, 0, 5000}};
  std::vector<float> logits(kVocab, 0.0f);
  logits[4] = 40.0f;
  logits[5] = 5.0f;
  // 35,000 tokens cost 32.767, not 35; the neighbours' counts stay 0.
  for (int step = 0; step < 7; ++step) {
    batch.sequences[0].position = step * 5000;
    const auto both = rig.Run(logits, {Sampled(1)}, batch);
    EXPECT_EQ(both.device[0].sampled.token, 4) << step;
  }
  logits[5] = 7.3f;
  EXPECT_EQ(rig.Run(logits, {Sampled(1)}).device[0].sampled.token, 5);
}

TEST(GpuSampleTest, ManyUsesInOneStepAndStepsInFlight) {
  SamplerRig rig(31);
  for (SequenceId id = 1; id <= 4; ++id) {
    SamplingParams params;
    params.temperature = 1.0f;
    params.seed = id;
    rig.Add(id, params);
  }
  for (int step = 0; step < 4; ++step) {
    rig.Begin({});
    for (int part = 0; part < 31; ++part) {
      std::vector<float> logits = RandomFloats(kRowsMax * 31, static_cast<uint32_t>(part + step));
      std::vector<LogitUse> uses;
      for (int64_t row = 0; row < kRowsMax; ++row) {
        LogitUse use;
        use.sequence = static_cast<SequenceId>(row % 4 + 1);
        use.target = static_cast<TokenId>(row % 31);
        use.sample = row + 4 >= kRowsMax;
        use.token_index = part;
        uses.push_back(use);
      }
      rig.Choose(logits, uses);
    }
    rig.End();
  }
  for (int step = 0; step < 4; ++step) {
    const auto device = rig.AwaitDevice(), host = rig.AwaitHost();
    ASSERT_EQ(device.size(), 31u * kRowsMax);
    for (size_t i = 0; i < device.size(); ++i) {
      EXPECT_EQ(device[i].sampled.token, host[i].sampled.token) << step << " " << i;
      EXPECT_EQ(device[i].scored.top, host[i].scored.top);
      ExpectLogprob(device[i].scored.logprob, host[i].scored.logprob,
                    "step " + std::to_string(step));
    }
  }
}

TEST(GpuSampleTest, ManyDrawsHaveTheirProbabilities) {
  constexpr int64_t kVocab = 31;
  constexpr int kDraws = 20000;
  SamplerRig rig(kVocab);
  SamplingParams params;
  params.temperature = 1.0f;
  params.seed = 123;
  rig.Add(1, params);
  params.top_k = 20;
  params.top_p = 0.9f;
  rig.Add(2, params);
  const std::vector<float> row = RandomFloats(kVocab, 5, 1.0f);
  std::vector<int> found[2] = {std::vector<int>(kVocab), std::vector<int>(kVocab)};
  for (int at = 0; at < kDraws; at += kRowsMax / 2) {
    std::vector<float> logits;
    std::vector<LogitUse> uses;
    for (int i = at; i < std::min<int>(kDraws, at + kRowsMax / 2); ++i) {
      for (const SequenceId id : {1, 2}) {
        uses.push_back(Sampled(id, i));
        logits.insert(logits.end(), row.begin(), row.end());
      }
    }
    const auto both = rig.Run(logits, uses);
    for (size_t i = 0; i < uses.size(); ++i) {
      ++found[i % 2][static_cast<size_t>(both.device[i].sampled.token)];
    }
  }
  double sum = 0.0, kept = 0.0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit));
  for (size_t i = 0; i < row.size(); ++i) {
    if (found[1][i] > 0) kept += std::exp(static_cast<double>(row[i])) / sum;
  }
  EXPECT_GE(kept, 0.8);
  EXPECT_LT(kept, 0.95);
  for (size_t i = 0; i < row.size(); ++i) {
    const double p = std::exp(static_cast<double>(row[i])) / sum;
    const double deviation = std::sqrt(p * (1 - p) / kDraws);
    EXPECT_NEAR(found[0][i] / double{kDraws}, p, 5 * deviation) << i;
    if (found[1][i] == 0) continue;
    EXPECT_NEAR(found[1][i] / double{kDraws}, p / kept, 6 * deviation) << i;
  }
}

TEST(GpuSampleTest, TheSameBitsOnEveryRun) {
  constexpr int64_t kVocab = 128256;
  SamplerRig rig(kVocab);
  std::vector<float> logits;
  std::vector<LogitUse> uses;
  for (size_t i = 0; i < 60; ++i) {
    SamplingParams params;
    params.temperature = 0.9f;
    params.top_p = i % 2 == 0 ? 0.9f : 1.0f;
    params.top_logprobs = static_cast<int32_t>(i % 21);
    rig.Add(i + 1, params);
    uses.push_back(Sampled(i + 1, static_cast<int64_t>(i)));
    const auto one =
        MakeLogits(kVocab, static_cast<int>(i % kLogitKinds), static_cast<uint32_t>(i));
    logits.insert(logits.end(), one.begin(), one.end());
  }
  const auto first = rig.Run(logits, uses).device;
  for (int run = 0; run < 3; ++run) {
    const auto next = rig.Run(logits, uses).device;
    for (size_t i = 0; i < uses.size(); ++i) {
      EXPECT_EQ(next[i].sampled.token, first[i].sampled.token);
      EXPECT_EQ(next[i].sampled.logprob, first[i].sampled.logprob);
      EXPECT_EQ(next[i].sampled.top, first[i].sampled.top);
    }
  }
}

TEST(GpuSampleTest, ClearForgetsStepsAndSequences) {
  SamplerRig rig(31);
  rig.Add(1, {});
  std::vector<float> logits = RandomFloats(31, 1);
  for (int step = 0; step < 3; ++step) {
    rig.Begin({});
    rig.Choose(logits, {Sampled(1)});
    rig.End();
  }
  EXPECT_TRUE(rig.device().Ready().ok());
  rig.device().Clear();
  rig.Remove(1);
  rig.Add(2, {});
  rig.Begin({});
  rig.Choose(logits, {Sampled(2)});
  rig.End();
  const auto device = rig.AwaitDevice();
  ASSERT_EQ(device.size(), 1u);
  EXPECT_EQ(device[0].sampled.token,
            std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace
}  // namespace headgate
