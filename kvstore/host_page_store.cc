#include "kvstore/host_page_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kvstore/host_page_store_state.h"

namespace headgate {

HostPageStore::HostPageStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
HostPageStore::~HostPageStore() = default;

absl::StatusOr<std::unique_ptr<HostPageStore>> HostPageStore::Create(KvLayout layout,
                                                                     uint32_t pages_total) {
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  if (!(pages_total < kNoPage)) return absl::InvalidArgumentError("page store: too many pages");
  auto state = std::make_unique<State>(std::move(layout), pages_total);
  for (int64_t layer = 0; layer < state->layout.layers(); ++layer) {
    for (int64_t head = 0; head < state->layout.kv_heads(layer); ++head) {
      const RowSpec& spec = state->layout.row(layer, head);
      auto found = std::find_if(state->classes.begin(), state->classes.end(),
                                [&spec](const RowClass& rows) { return rows.spec == spec; });
      if (found == state->classes.end()) found = state->classes.insert(found, {spec, {}});
      found->rows.push_back(static_cast<int32_t>(state->places.size()));
      state->places.push_back({layer, head});
    }
  }
  return std::unique_ptr<HostPageStore>(new HostPageStore(std::move(state)));
}

absl::Status HostPageStore::AddSequence(SequenceId sequence) {
  std::unique_ptr<StoredSequence>& entry = state_->sequences[sequence];
  if (entry != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("sequence ", sequence, " is known already"));
  }
  entry = std::make_unique<StoredSequence>();
  entry->id = sequence;
  entry->rows.resize(state_->layout.rows.size());
  return absl::OkStatus();
}

// Checks the chunks and marks their sequences as writing.
absl::Status HostPageStore::State::OpenStep(std::span<const Chunk> chunks) {
  for (const Chunk& chunk : chunks) {
    const auto it = sequences.find(chunk.sequence);
    if (it == sequences.end()) {
      return absl::NotFoundError(absl::StrCat("step: sequence ", chunk.sequence, " is unknown"));
    }
    StoredSequence& sequence = *it->second;
    if (sequence.writing != sequence.length) {
      return absl::InvalidArgumentError(
          absl::StrCat("step: two chunks of sequence ", chunk.sequence));
    }
    if (chunk.position != sequence.length) {
      return absl::InvalidArgumentError(absl::StrCat("step: chunk of sequence ", chunk.sequence,
                                                     " begins at ", chunk.position, ", expected ",
                                                     sequence.length));
    }
    sequence.writing = sequence.length + chunk.length();
    step.push_back(&sequence);
  }
  return absl::OkStatus();
}

void HostPageStore::State::CloseStep() {
  for (StoredSequence* sequence : step) sequence->writing = sequence->length;
  step.clear();
  begun = false;
}

void HostPageStore::State::Hold(StoredSequence& sequence, HeadClass head_class, int64_t pages) {
  sequence.pages_held += pages;
  held[Index(head_class)] += pages;
}

absl::Status HostPageStore::BeginStep(std::span<const Chunk> chunks) {
  State& s = *state_;
  CHECK(!s.begun) << "the step before was neither committed nor aborted";
  s.copies.clear();
  if (absl::Status opened = s.OpenStep(chunks); !opened.ok()) {
    s.CloseStep();
    return opened;
  }
  int64_t needed = 0;
  for (const StoredSequence* sequence : s.step) {
    for (const RowClass& rows : s.classes) {
      needed += static_cast<int64_t>(rows.rows.size()) *
                s.Growth(rows.spec, sequence->length, sequence->writing);
    }
  }
  if (needed > s.pool.free()) {
    s.CloseStep();
    return absl::ResourceExhaustedError(absl::StrCat(
        "step: needs ", needed, " pages, ", s.pool.free(), " of ", s.pool.total(), " are free"));
  }
  s.taken.resize(static_cast<size_t>(needed));
  CHECK(s.pool.Allocate(s.taken));
  std::span<const PageId> pages = s.taken;
  for (StoredSequence* sequence : s.step) {
    for (const RowClass& rows : s.classes) {
      const int64_t growth = s.Growth(rows.spec, sequence->length, sequence->writing);
      if (growth == 0) continue;
      for (const int32_t row : rows.rows) {
        sequence->rows[static_cast<size_t>(row)].Append(pages.first(static_cast<size_t>(growth)));
        pages = pages.subspan(static_cast<size_t>(growth));
      }
      s.Hold(*sequence, rows.spec.head_class, growth * static_cast<int64_t>(rows.rows.size()));
    }
  }
  s.peak_referenced = std::max(s.peak_referenced, s.pool.referenced());
  s.begun = true;
  return absl::OkStatus();
}

RowView HostPageStore::Row(SequenceId sequence, int64_t layer, int64_t head) const {
  const StoredSequence& entry = state_->Find(sequence);
  const KvLayout& layout = state_->layout;
  const RowTable& row = entry.rows[static_cast<size_t>(layout.row_index(layer, head))];
  return {.spec = layout.row(layer, head),
          .page_tokens = layout.page_tokens,
          .length = entry.length,
          .table = row.table(),
          .kept = row.kept(),
          .kept_tokens = row.kept_tokens()};
}

void HostPageStore::Commit() {
  CommitKept([](SequenceId, int64_t, int64_t, int64_t) { return true; });
}

std::span<const TokenCopy> HostPageStore::CommitKept(Keep keep) {
  State& s = *state_;
  CHECK(s.begun) << "no step to commit";
  const int64_t page_tokens = s.layout.page_tokens;
  for (StoredSequence* sequence : s.step) {
    for (const RowClass& rows : s.classes) {
      if (rows.spec.head_class == HeadClass::kStreaming) {
        const RowSpec full;
        s.freed_by_policy +=
            static_cast<uint64_t>(rows.rows.size()) *
            static_cast<uint64_t>(s.Growth(full, sequence->length, sequence->writing) -
                                  s.Growth(rows.spec, sequence->length, sequence->writing));
      } else if (ExitedPages(rows.spec, sequence->writing, page_tokens) >
                 ExitedPages(rows.spec, sequence->length, page_tokens)) {
        s.RetireGated(*sequence, rows, keep);
      }
    }
    sequence->length = sequence->writing;
  }
  s.CloseStep();
  return s.copies;
}

void HostPageStore::State::RetireGated(StoredSequence& sequence, const RowClass& rows, Keep keep) {
  const int64_t page_tokens = layout.page_tokens;
  const int64_t before = ExitedPages(rows.spec, sequence.length, page_tokens);
  const int64_t count = ExitedPages(rows.spec, sequence.writing, page_tokens) - before;
  const int64_t position = rows.spec.sinks + before * page_tokens;
  for (const int32_t row : rows.rows) {
    const RowPlace& place = places[static_cast<size_t>(row)];
    const int64_t freed = sequence.rows[static_cast<size_t>(row)].Retire(
        rows.spec.sinks / page_tokens, count, position, page_tokens,
        [&](int64_t at) { return keep(sequence.id, place.layer, place.head, at); }, pool, copies);
    Hold(sequence, rows.spec.head_class, -freed);
    freed_by_policy += static_cast<uint64_t>(freed);
  }
}

void HostPageStore::Abort() {
  State& s = *state_;
  CHECK(s.begun) << "no step to abort";
  for (StoredSequence* sequence : s.step) {
    for (const RowClass& rows : s.classes) {
      const int64_t growth = s.Growth(rows.spec, sequence->length, sequence->writing);
      if (growth == 0) continue;
      for (const int32_t row : rows.rows) {
        sequence->rows[static_cast<size_t>(row)].TakeBack(growth, s.pool);
      }
      s.Hold(*sequence, rows.spec.head_class, -growth * static_cast<int64_t>(rows.rows.size()));
    }
  }
  s.CloseStep();
}

absl::Status HostPageStore::Release(SequenceId sequence) {
  State& s = *state_;
  const auto it = s.sequences.find(sequence);
  if (it == s.sequences.end()) {
    return absl::NotFoundError(absl::StrCat("release: sequence ", sequence, " is unknown"));
  }
  StoredSequence& entry = *it->second;
  CHECK_EQ(entry.writing, entry.length) << "sequence " << sequence << " is in a begun step";
  for (const RowClass& rows : s.classes) {
    for (const int32_t index : rows.rows) {
      RowTable& row = entry.rows[static_cast<size_t>(index)];
      s.freed_by_release += static_cast<uint64_t>(row.pages());
      s.Hold(entry, rows.spec.head_class, -row.pages());
      row.Clear(s.pool);
    }
  }
  CHECK_EQ(entry.pages_held, 0) << "sequence " << sequence;
  s.sequences.erase(it);
  return absl::OkStatus();
}

void HostPageStore::Clear() {
  State& s = *state_;
  s.freed_by_release += s.pool.referenced();
  s.begun = false;
  s.step.clear();
  s.copies.clear();
  s.sequences.clear();
  s.held = {};
  s.pool = PagePool(s.pool.total());
}

uint32_t HostPageStore::PagesHeld(SequenceId sequence) const {
  return static_cast<uint32_t>(state_->Find(sequence).pages_held);
}

int64_t HostPageStore::Length(SequenceId sequence) const { return state_->Find(sequence).length; }

PageStats HostPageStore::Stats() const {
  const State& s = *state_;
  const auto held = [&s](HeadClass head_class) {
    return static_cast<uint32_t>(s.held[Index(head_class)]);
  };
  PageStats stats;
  stats.total = s.pool.total();
  stats.free = s.pool.free();
  stats.referenced_full = held(HeadClass::kFull);
  stats.referenced_streaming = held(HeadClass::kStreaming);
  stats.referenced_gated = held(HeadClass::kGated);
  stats.peak_referenced = s.peak_referenced;
  stats.freed_by_policy = s.freed_by_policy;
  stats.freed_by_release = s.freed_by_release;
  stats.page_bytes = static_cast<uint64_t>(s.layout.page_bytes());
  return stats;
}

const KvLayout& HostPageStore::layout() const { return state_->layout; }

}  // namespace headgate
