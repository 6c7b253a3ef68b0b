#include "embedder/suspect_texts.h"

#include "absl/hash/hash.h"

namespace pith {
namespace {

uint64_t Key(const SuspectTexts::Ids& text) {
  return absl::Hash<SuspectTexts::Ids>()(text);
}

}  // namespace

void SuspectTexts::Lost(const Ids& text, uint64_t batch) {
  const uint64_t key = Key(text);
  Record& record =
      records_.try_emplace(key, Record{.first_batch = batch}).first->second;
  by_age_.erase({record.number, key});
  record.number = next_number_++;
  by_age_.insert({record.number, key});
  if (records_.size() > kMaxTexts) {
    records_.erase(by_age_.begin()->second);
    by_age_.erase(by_age_.begin());
  }
}

void SuspectTexts::Died(const Ids& text, uint64_t batch, bool alone,
                        absl::Time now) {
  const auto found = records_.find(Key(text));
  if (found == records_.end() || found->second.first_batch > batch) {
    return;
  }
  Record& record = found->second;
  record.has_died = true;
  record.deaths_alone += alone ? 1 : 0;
  if (record.deaths_alone >= kMaxDeathsAlone) {
    record.refused_until = now + kRefusal;
  }
}

void SuspectTexts::Embedded(const Ids& text) {
  if (records_.empty()) {
    return;
  }
  const auto found = records_.find(Key(text));
  if (found != records_.end()) {
    by_age_.erase({found->second.number, found->first});
    records_.erase(found);
  }
}

const SuspectTexts::Record* SuspectTexts::Find(const Ids& text) const {
  // Usually there are none, and a text need not be hashed.
  const auto found =
      records_.empty() ? records_.end() : records_.find(Key(text));
  return found == records_.end() ? nullptr : &found->second;
}

bool SuspectTexts::MustBeAlone(const Ids& text) const {
  const Record* const record = Find(text);
  return record != nullptr && record->has_died;
}

bool SuspectTexts::IsRefused(const Ids& text, absl::Time now) const {
  const Record* const record = Find(text);
  return record != nullptr && now < record->refused_until;
}

}  // namespace pith
