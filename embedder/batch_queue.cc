#include "embedder/batch_queue.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/reason.h"

namespace pith {
namespace {

// Work is not cut finer for the sake of sharing it: below, what is the same for
// every batch costs more than a worker that waits.
constexpr int64_t kLeastSharedTokens = 128;
// A share of what waits that each worker takes at a time, so that they end at
// about the same moment.
constexpr int64_t kSharesPerWorker = 2;

// Connections that may be lost with a text before its requests are told.
constexpr int kMaxLosses = 2;

int64_t Tokens(const std::vector<int32_t>& ids) {
  return static_cast<int64_t>(ids.size());
}

absl::Status Refusal(size_t text) {
  return absl::UnavailableError(absl::StrCat(
      "text ", text, ": model workers died ", SuspectTexts::kMaxDeathsAlone,
      " times while they had it alone"));
}

}  // namespace

absl::Status BatchQueue::Push(RequestId id,
                              std::vector<std::vector<int32_t>> texts,
                              const RequestContext& context, absl::Time now) {
  for (size_t i = 0; i < texts.size(); ++i) {
    if (suspects_.IsRefused(texts[i], now)) {
      return Refusal(i);
    }
  }
  Waiting& waiting = waiting_[Index(context.priority)];
  int64_t tokens = 0;
  for (const std::vector<int32_t>& text : texts) {
    const auto there = texts_.find(text);
    // One that ingest waits for comes into the searches' queue.
    tokens += there == texts_.end() || MovesToSearch(there->second, context)
                  ? Tokens(text)
                  : 0;
  }
  if (waiting.tokens + tokens > limits_.max_waiting_tokens) {
    ++counters_.refused_requests;
    return WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "embed ", tokens, " tokens: ", waiting.tokens, " of at most ",
            limits_.max_waiting_tokens, " already wait")),
        "EMBED_QUEUE_FULL");
  }
  Request& request = requests_[id];
  CHECK(request.texts.empty()) << "a request is pushed once";
  request.context = context;
  request.unfinished = texts.size();
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto [found, is_first] = texts_.try_emplace(std::move(texts[i]));
    Text& text = found->second;
    if (is_first) {
      text.ids = &found->first;
      text.number = next_number_++;
      text.priority = context.priority;
      Enqueue(&text);
    } else {
      ++counters_.shared_texts;
      // A search does not wait for ingest because its passage does.
      if (MovesToSearch(text, context)) {
        Dequeue(&text);
        text.priority = EmbedPriority::kSearch;
        Enqueue(&text);
      } else if (context.priority == EmbedPriority::kSearch && text.running) {
        text.priority = EmbedPriority::kSearch;
      }
    }
    text.waiters.push_back({id, i});
    request.texts.push_back(&text);
  }
  return absl::OkStatus();
}

bool BatchQueue::MovesToSearch(const Text& text,
                               const RequestContext& context) {
  return context.priority == EmbedPriority::kSearch &&
         text.priority == EmbedPriority::kIngest && !text.running &&
         !text.again;
}

void BatchQueue::Enqueue(Text* text) {
  Waiting& waiting = waiting_[Index(text->priority)];
  waiting.by_age.insert({text->number, text});
  if (!suspects_.MustBeAlone(*text->ids)) {
    waiting.by_length.insert({{text->ids->size(), text->number}, text});
  }
  waiting.tokens += Tokens(*text->ids);
}

void BatchQueue::Dequeue(Text* text) {
  Waiting& waiting = waiting_[Index(text->priority)];
  waiting.by_age.erase({text->number, text});
  waiting.by_length.erase({{text->ids->size(), text->number}, text});
  waiting.tokens -= Tokens(*text->ids);
}

void BatchQueue::Erase(Text* text) {
  for (const Waiter& waiter : text->waiters) {
    const auto request = requests_.find(waiter.request);
    CHECK(request != requests_.end());
    request->second.texts[waiter.text] = nullptr;
    if (--request->second.unfinished == 0) {
      requests_.erase(request);
    }
  }
  texts_.erase(texts_.find(*text->ids));
}

void BatchQueue::Remove(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) {
    return;
  }
  std::vector<Text*> texts = std::move(found->second.texts);
  requests_.erase(found);
  ++counters_.dropped_requests;
  // A request may have one text twice.
  std::ranges::sort(texts);
  texts.erase(std::ranges::unique(texts).begin(), texts.end());
  for (Text* text : texts) {
    if (text == nullptr) {
      continue;
    }
    std::erase_if(text->waiters,
                  [&](const Waiter& waiter) { return waiter.request == id; });
    // What runs, or is to be given out again, is dropped when its turn comes.
    if (text->waiters.empty() && !text->running && !text->again) {
      Dequeue(text);
      Erase(text);
    }
  }
}

std::vector<BatchQueue::RequestId> BatchQueue::RemoveAll() {
  std::vector<RequestId> ids;
  for (const auto& [id, request] : requests_) {
    ids.push_back(id);
  }
  std::ranges::sort(ids);
  for (const RequestId id : ids) {
    Remove(id);
  }
  for (Waiting& waiting : waiting_) {
    for (const std::vector<Text*>& group : waiting.again) {
      for (Text* text : group) {
        waiting.tokens -= Tokens(*text->ids);
        Erase(text);
      }
    }
    waiting.again.clear();
  }
  return ids;
}

bool BatchQueue::IsWanted(Text* text, absl::Time now, Dead& dead) {
  // Removing a request changes the waiters of this text.
  const std::vector<Waiter> waiters = text->waiters;
  // Keeps the text while its waiters go.
  const bool was_running = std::exchange(text->running, true);
  for (const Waiter& waiter : waiters) {
    const auto request = requests_.find(waiter.request);
    if (request == requests_.end()) {
      continue;
    }
    const RequestContext& context = request->second.context;
    absl::Status alive = CheckAlive(context, now);
    if (!alive.ok()) {
      Remove(waiter.request);
      dead.emplace_back(waiter.request, std::move(alive));
    }
  }
  text->running = was_running;
  return !text->waiters.empty();
}

EmbedPriority BatchQueue::NextPriority() const {
  const Waiting& search = waiting_[Index(EmbedPriority::kSearch)];
  const Waiting& ingest = waiting_[Index(EmbedPriority::kIngest)];
  if (search.empty()) {
    return EmbedPriority::kIngest;
  }
  if (ingest.empty()) {
    return EmbedPriority::kSearch;
  }
  const auto least = std::min<int64_t>(
      ingest.tokens, limits_.max_batch_tokens[Index(EmbedPriority::kIngest)]);
  return ingest_credit_ >= static_cast<double>(least) ? EmbedPriority::kIngest
                                                      : EmbedPriority::kSearch;
}

int64_t BatchQueue::BatchTokens(EmbedPriority priority) const {
  const int64_t most = limits_.max_batch_tokens[Index(priority)];
  if (limits_.workers == 1) {
    return most;
  }
  const int64_t share =
      waiting_[Index(priority)].tokens / (limits_.workers * kSharesPerWorker);
  return std::min(most, std::max(share, kLeastSharedTokens));
}

std::vector<BatchQueue::Text*> BatchQueue::Gather(Waiting& waiting,
                                                  int64_t room, absl::Time now,
                                                  Dead& dead) {
  std::vector<Text*> texts;
  // Batches that failed, as they were but for texts that nobody wants any more.
  while (!waiting.again.empty() && texts.empty()) {
    const std::vector<Text*> group = std::move(waiting.again.front());
    waiting.again.pop_front();
    for (Text* text : group) {
      waiting.tokens -= Tokens(*text->ids);
      if (IsWanted(text, now, dead)) {
        text->running = true;
        texts.push_back(text);
      } else {
        Erase(text);
      }
    }
  }
  if (!texts.empty()) {
    return texts;
  }

  // Whoever is dead is found when its text is looked at, and may take other
  // texts with it: each look starts from the sets.
  const auto take = [&](Text* text) {
    if (!IsWanted(text, now, dead)) {
      Dequeue(text);
      Erase(text);
      return;
    }
    Dequeue(text);
    // Stays if its request is found dead at another text.
    text->running = true;
    room -= Tokens(*text->ids);
    texts.push_back(text);
  };
  while (texts.empty() && !waiting.by_age.empty()) {
    take(waiting.by_age.begin()->second);
  }
  if (texts.empty() || suspects_.MustBeAlone(*texts.front()->ids)) {
    return texts;
  }
  const size_t length = texts.front()->ids->size();
  while (!waiting.by_length.empty()) {
    // The nearest length on either side, the older one of a length.
    const auto above = waiting.by_length.lower_bound({{length, 0}, nullptr});
    auto nearest = waiting.by_length.end();
    if (above != waiting.by_length.end() &&
        Tokens(*above->second->ids) <= room) {
      nearest = above;
    }
    if (above != waiting.by_length.begin()) {
      const size_t shorter = std::prev(above)->second->ids->size();
      const auto below = waiting.by_length.lower_bound({{shorter, 0}, nullptr});
      if (static_cast<int64_t>(shorter) <= room &&
          (nearest == waiting.by_length.end() ||
           length - shorter <= nearest->second->ids->size() - length)) {
        nearest = below;
      }
    }
    if (nearest == waiting.by_length.end()) {
      break;
    }
    take(nearest->second);
  }
  return texts;
}

BatchQueue::Batch BatchQueue::Take(absl::Time now, Dead& dead) {
  Batch batch;
  std::vector<Text*> texts;
  EmbedPriority priority = EmbedPriority::kSearch;
  int64_t room = 0;
  while (texts.empty() && !empty()) {
    priority = NextPriority();
    room = BatchTokens(priority);
    texts = Gather(waiting_[Index(priority)], room, now, dead);
  }
  if (texts.empty()) {
    return batch;
  }
  for (const Text* text : texts) {
    batch.tokens.ids.insert(batch.tokens.ids.end(), text->ids->begin(),
                            text->ids->end());
    batch.tokens.offsets.push_back(
        static_cast<int32_t>(batch.tokens.ids.size()));
  }
  const int64_t tokens = Tokens(batch.tokens.ids);
  if (waiting_[Index(EmbedPriority::kIngest)].empty()) {
    ingest_credit_ = 0;
  } else if (priority == EmbedPriority::kSearch) {
    ingest_credit_ += static_cast<double>(tokens) * limits_.ingest_share /
                      (1 - limits_.ingest_share);
  } else {
    ingest_credit_ =
        std::max(0.0, ingest_credit_ - static_cast<double>(tokens));
  }
  ++counters_.batches;
  counters_.texts += static_cast<int64_t>(texts.size());
  counters_.tokens += tokens;
  counters_.room += std::max(room, tokens);
  batch.id = BatchId{next_batch_++};
  running_[batch.id] = std::move(texts);
  return batch;
}

std::vector<std::vector<BatchQueue::Waiter>> BatchQueue::Finish(BatchId batch) {
  const auto found = running_.find(batch);
  CHECK(found != running_.end());
  std::vector<std::vector<Waiter>> waiters;
  for (Text* text : found->second) {
    waiters.push_back(text->waiters);
    suspects_.Embedded(*text->ids);
    Erase(text);
  }
  running_.erase(found);
  return waiters;
}

std::vector<BatchQueue::Waiter> BatchQueue::Fail(BatchId batch,
                                                 Failure failure) {
  const auto found = running_.find(batch);
  CHECK(found != running_.end());
  const std::vector<Text*> texts = std::move(found->second);
  running_.erase(found);
  const bool is_evidence =
      failure == Failure::kWorkerDied || failure == Failure::kError;
  std::vector<Waiter> failed;
  // By priority: a search may have joined some.
  std::array<std::vector<Text*>, 2> groups;
  for (Text* text : texts) {
    text->running = false;
    text->failures += failure == Failure::kError        ? 2
                      : failure == Failure::kWorkerDied ? 1
                                                        : 0;
    if (failure == Failure::kUnreachable) {
      ++text->losses;
      suspects_.Lost(*text->ids, static_cast<uint64_t>(batch));
    }
    if (text->waiters.empty()) {
      Erase(text);
      continue;
    }
    const bool is_guilty =
        is_evidence && texts.size() == 1 && text->failures > 1;
    if (is_guilty || text->losses == kMaxLosses) {
      failed.insert(failed.end(), text->waiters.begin(), text->waiters.end());
      Erase(text);
      continue;
    }
    const bool is_suspect = text->failures > 1;
    text->again = is_evidence || is_suspect;
    if (!text->again) {
      // The next worker may be slower: it takes what fits it.
      Enqueue(text);
      continue;
    }
    Waiting& waiting = waiting_[Index(text->priority)];
    waiting.tokens += Tokens(*text->ids);
    if (is_suspect) {
      waiting.again.push_back({text});
    } else {
      groups[Index(text->priority)].push_back(text);
    }
  }
  for (size_t priority = 0; priority < groups.size(); ++priority) {
    if (!groups[priority].empty()) {
      waiting_[priority].again.push_back(std::move(groups[priority]));
    }
  }
  return failed;
}

BatchQueue::Dead BatchQueue::Blame(const Batch& batch, absl::Time now) {
  const PackedTokens& texts = batch.tokens;
  Dead dead;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::vector<int32_t> ids(texts.ids.begin() + texts.offsets[i],
                                   texts.ids.begin() + texts.offsets[i + 1]);
    const auto found = texts_.find(ids);
    const bool is_waiting =
        found != texts_.end() && !found->second.running && !found->second.again;
    if (is_waiting) {
      Dequeue(&found->second);
    }
    suspects_.Died(ids, static_cast<uint64_t>(batch.id),
                   /*alone=*/texts.size() == 1, now);
    if (!is_waiting) {
      continue;
    }
    Enqueue(&found->second);
    if (suspects_.IsRefused(ids, now)) {
      const std::vector<Waiter> waiters = found->second.waiters;
      for (const Waiter& waiter : waiters) {
        // A request may have one text twice.
        if (requests_.contains(waiter.request)) {
          dead.emplace_back(waiter.request, Refusal(waiter.text));
          Remove(waiter.request);
        }
      }
    }
  }
  return dead;
}

}  // namespace pith
