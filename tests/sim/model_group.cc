#include "tests/sim/model_group.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "kvstore/visibility.h"
#include "tests/sim/token_oracle.h"

namespace headgate::sim {
namespace {

template <typename... Parts>
absl::Status Broken(const Parts&... parts) {
  return absl::InternalError(absl::StrCat("plan: ", parts...));
}

}  // namespace

void ModelGroup::Boot(const GroupShape& shape) {
  Die();
  shape_ = shape;
  alive_ = true;
  last_step_ = 0;
  gated_rows_.clear();
  for (const RankShape& rank : shape_.ranks) {
    int64_t& rows = gated_rows_.emplace_back(0);
    for (const RowGroup& group : rank.rows) {
      if (group.head_class == HeadClass::kGated) rows += group.rows;
    }
  }
}

void ModelGroup::Die() {
  alive_ = false;
  sequences_.clear();
  queue_.clear();
}

// Pages at the last finished step: full and streaming rows exactly, gated ones as they chose.
int64_t ModelGroup::Held(size_t rank, const ModelSequence& sequence) const {
  const int64_t all = NaivePages(shape_.ranks[rank], sequence.tokens_done, shape_.page_tokens);
  return all - gated_rows_[rank] * PagesOf(sequence.tokens_done) + sequence.gated[rank];
}

// Most pages that it may take until every plan received is done.
int64_t ModelGroup::Charge(size_t rank, const ModelSequence& sequence) const {
  const RankShape& shape = shape_.ranks[rank];
  return Held(rank, sequence) + NaivePages(shape, sequence.tokens_planned, shape_.page_tokens) -
         NaivePages(shape, sequence.tokens_done, shape_.page_tokens);
}

absl::Status ModelGroup::CheckPages() const {
  for (size_t rank = 0; rank < shape_.ranks.size(); ++rank) {
    int64_t pages = 0;
    for (const auto& [id, sequence] : sequences_) pages += Charge(rank, sequence);
    if (pages <= shape_.ranks[rank].pages_total) continue;
    return Broken("rank ", rank, " may need ", pages, " pages of ", shape_.ranks[rank].pages_total);
  }
  return absl::OkStatus();
}

// Sequences that no plan has released each have a place on every rank.
absl::Status ModelGroup::CheckPlaces() const {
  const auto resident = std::count_if(sequences_.begin(), sequences_.end(), [](const auto& entry) {
    return entry.second.released_at == 0;
  });
  for (size_t rank = 0; rank < shape_.ranks.size(); ++rank) {
    if (resident <= shape_.ranks[rank].sequences_max) continue;
    return Broken("rank ", rank, " has ", resident, " sequences of at most ",
                  shape_.ranks[rank].sequences_max);
  }
  return absl::OkStatus();
}

absl::Status ModelGroup::Receive(const StepPlan& plan, ClientBook& book) {
  if (plan.epoch != shape_.epoch) return Broken("epoch ", plan.epoch, " to ", shape_.epoch);
  if (plan.step != last_step_ + 1) return Broken("step ", plan.step, " after ", last_step_);
  last_step_ = plan.step;
  if (plan.chunks.empty() && plan.releases.empty()) return Broken("it says nothing");
  QueuedStep& queued = queue_.emplace_back();
  queued.step = plan.step;
  if (static_cast<int64_t>(queue_.size()) > config_->scheduler.steps_in_flight) {
    return Broken(queue_.size(), " steps in flight");
  }
  RETURN_IF_ERROR(ReceiveReleases(plan, book, queued));
  for (const SequenceStart& start : plan.starts) RETURN_IF_ERROR(ReceiveStart(start, book));
  RETURN_IF_ERROR(CheckPlaces());
  for (const Chunk& chunk : plan.chunks) RETURN_IF_ERROR(ReceiveChunk(chunk, book, queued));
  for (const SequenceStart& start : plan.starts) {
    if (sequences_[start.sequence].tokens_planned == 0) return Broken("a start without chunk");
  }
  if (queued.tokens > config_->scheduler.step_tokens ||
      static_cast<int64_t>(plan.chunks.size()) > config_->scheduler.running_limit) {
    return Broken(queued.tokens, " tokens of ", plan.chunks.size(), " sequences");
  }
  return CheckPages();
}

absl::Status ModelGroup::ReceiveReleases(const StepPlan& plan, ClientBook& book,
                                         QueuedStep& queued) {
  for (const SequenceId id : plan.releases) {
    const auto it = sequences_.find(id);
    if (it == sequences_.end() || it->second.released_at != 0) {
      return Broken("release of unknown sequence ", id);
    }
    it->second.released_at = plan.step;
    Client& client = *book.Find(it->second.request);
    if (!client.live) continue;
    if (book.IsOldest(client)) return Broken("the oldest request is preempted");
    if (++client.preemptions > config_->scheduler.admission.preemptions_max) {
      return Broken("request ", client.request.id, " is preempted ", client.preemptions, " times");
    }
  }
  queued.releases = plan.releases;
  return absl::OkStatus();
}

absl::Status ModelGroup::ReceiveStart(const SequenceStart& start, const ClientBook& book) {
  if (!seen_.insert(start.sequence).second) {
    return Broken("sequence ", start.sequence, " starts twice");
  }
  const RequestId request = start.sampling.seed;
  if (!(1 <= request && request <= book.size())) return Broken("start of an unknown request");
  const Client& client = book.client(request);
  if (start.prompt_tokens != static_cast<int64_t>(client.request.prompt.size()) ||
      start.first_token_index != static_cast<int64_t>(client.received.size())) {
    return Broken("request ", request, " starts at token ", start.first_token_index, ", it has ",
                  client.received.size());
  }
  ModelSequence& sequence = sequences_[start.sequence];
  sequence.request = request;
  sequence.first_index = start.first_token_index;
  sequence.context = kEmptyContext;
  sequence.gated.assign(shape_.ranks.size(), 0);
  return absl::OkStatus();
}

absl::Status ModelGroup::CheckChunkTokens(const Chunk& chunk, const ModelSequence& sequence,
                                          const Client& client) const {
  const auto prompt = static_cast<int64_t>(client.request.prompt.size());
  if (static_cast<int64_t>(chunk.tokens.size()) > config_->scheduler.chunk_tokens) {
    return Broken("a chunk of ", chunk.tokens.size(), " tokens");
  }
  if (chunk.position + chunk.length() > prompt + sequence.first_index) {
    return Broken("tokens beyond those known when the sequence began");
  }
  for (int64_t i = 0; i < chunk.length(); ++i) {
    if (chunk.tokens[static_cast<size_t>(i)] != client.TokenAt(chunk.position + i)) {
      return Broken("request ", client.request.id, " position ", chunk.position + i,
                    " holds another token");
    }
  }
  for (size_t i = 0; i < chunk.score_targets.size(); ++i) {
    const int64_t next = chunk.position + static_cast<int64_t>(i) + 1;
    const TokenId target = chunk.score_targets[i];
    if (target == kNoTarget) continue;
    if (!client.request.score || next >= prompt || target != client.TokenAt(next)) {
      return Broken("a wrong score target at position ", next - 1);
    }
  }
  if (!chunk.score_targets.empty() &&
      static_cast<int64_t>(chunk.score_targets.size()) != chunk.length()) {
    return Broken("score targets are not parallel to the chunk");
  }
  return absl::OkStatus();
}

absl::Status ModelGroup::ReceiveChunk(const Chunk& chunk, const ClientBook& book,
                                      QueuedStep& queued) {
  const auto it = sequences_.find(chunk.sequence);
  if (it == sequences_.end() || it->second.released_at != 0) {
    return Broken("chunk of unknown sequence ", chunk.sequence);
  }
  ModelSequence& sequence = it->second;
  const Client& client = book.client(sequence.request);
  if (!client.live) return Broken("a chunk for ended request ", sequence.request);
  for (const SequenceResult& result : queued.results) {
    if (result.sequence == chunk.sequence) return Broken("two chunks of one sequence");
  }
  if (chunk.position != sequence.tokens_planned) {
    return Broken("position ", chunk.position, " follows ", sequence.tokens_planned);
  }
  SequenceResult& result = queued.results.emplace_back();
  result.sequence = chunk.sequence;
  if (chunk.tokens.empty()) {
    if (!sequence.sampled_last) return Broken("a decode of a token that was not sampled");
    sequence.context = Extend(sequence.context, sequence.last_sampled);
  } else {
    if (sequence.samples > 0) return Broken("prefill after the first sample");
    RETURN_IF_ERROR(CheckChunkTokens(chunk, sequence, client));
    for (size_t i = 0; i < chunk.tokens.size(); ++i) {
      sequence.context = Extend(sequence.context, chunk.tokens[i]);
      if (chunk.score_targets.empty()) continue;
      const TokenId target = chunk.score_targets[i];
      const int64_t position = chunk.position + static_cast<int64_t>(i);
      result.score_logprobs.push_back(target == kNoTarget ? 0 : Logprob(sequence.context, target));
      result.score_top.push_back(NextToken(sequence.context, position, shape_.vocab));
    }
  }
  sequence.tokens_planned += chunk.length();
  sequence.sampled_last = chunk.sample;
  if (chunk.sample) {
    const int64_t index = sequence.first_index + sequence.samples++;
    if (index >= client.request.max_tokens) return Broken("token ", index, " is beyond max_tokens");
    sequence.last_sampled = NextToken(sequence.context, index, shape_.vocab);
    result.sampled = true;
    result.token = sequence.last_sampled;
    result.logprob = Logprob(sequence.context, result.token);
  }
  queued.tokens += chunk.length();
  queued.tokens_after.push_back(sequence.tokens_planned);
  return absl::OkStatus();
}

std::vector<StepResult> ModelGroup::FinishStep(Random& random) {
  QueuedStep done = std::move(queue_.front());
  queue_.pop_front();
  std::vector<StepResult> by_rank(shape_.ranks.size());
  for (size_t rank = 0; rank < by_rank.size(); ++rank) {
    by_rank[rank].epoch = shape_.epoch;
    by_rank[rank].step = done.step;
    if (rank > 0) {
      for (const SequenceResult& from : done.results) {
        by_rank[rank].sequences.emplace_back().sequence = from.sequence;
      }
    }
  }
  by_rank[0].sequences = std::move(done.results);
  for (size_t i = 0; i < done.tokens_after.size(); ++i) {
    ModelSequence& sequence = sequences_[by_rank[0].sequences[i].sequence];
    const int64_t pages = PagesOf(done.tokens_after[i]) - PagesOf(sequence.tokens_done);
    sequence.tokens_done = done.tokens_after[i];
    for (size_t rank = 0; rank < by_rank.size(); ++rank) {
      int64_t& gated = sequence.gated[rank];
      gated += gated_rows_[rank] * pages;
      if (config_->gate == GateMood::kEverything) gated = 0;
      if (config_->gate == GateMood::kAnything) gated = random.Between(0, gated);
      by_rank[rank].sequences[i].pages_held = static_cast<uint32_t>(Held(rank, sequence));
    }
  }
  for (const SequenceId id : done.releases) sequences_.erase(id);
  return by_rank;
}

RequestId ModelGroup::FinishStepWithALie(Random& random, ClientBook& book,
                                         std::vector<StepResult>& out) {
  out = FinishStep(random);
  std::vector<SequenceResult>& results = out[0].sequences;
  if (results.empty()) return 0;
  SequenceResult& result =
      results[static_cast<size_t>(random.Between(0, static_cast<int64_t>(results.size()) - 1))];
  const auto it = sequences_.find(result.sequence);
  if (it == sequences_.end() || it->second.released_at != 0) return 0;
  Client& client = *book.Find(it->second.request);
  if (!client.live) return 0;
  switch (random.Between(0, 3)) {
    case 0:
      result.failed = true;
      break;
    case 1:
      result.pages_held += 1000;
      break;
    case 2:
      if (!result.sampled) return 0;
      result.token = random.Chance(500) ? -1 : static_cast<TokenId>(shape_.vocab);
      break;
    default:
      result.sampled = !result.sampled;
  }
  client.tampered = true;
  return client.request.id;
}

}  // namespace headgate::sim
