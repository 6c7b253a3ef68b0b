// How codes leave the delta. The order of publishing, so that a crash at any
// point loses nothing: codebook and segment files are made durable; one synced
// batch names the new segment in the manifest, drops what it replaces and takes
// the codes out of the delta; searches see the new generation; replaced files
// are removed. Files that the manifest does not name are removed at open.

#include <sys/resource.h>

#include <algorithm>
#include <future>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

#include "core/base/status_macros.h"
#include "core/base/thread_name.h"
#include "core/codes/codebook_training.h"
#include "core/index/codebook_choice.h"
#include "core/index/collection.h"

namespace pith {
namespace {

// Nice value of the sealing thread and those it starts: searches first.
constexpr int kSealNice = 10;

constexpr uint64_t kSeed = 1;

// A collection with so many keeps to them: each takes as much as the codes of
// some 20,000 passages, and time of every search.
constexpr size_t kMaxCodebooks = 16;

// Passages of one call, and calls, over some two minutes, until a model that
// does not answer is given up.
constexpr size_t kRecomputedAtOnce = 256;
constexpr int kMaxRecomputeTries = 12;

// How often one that pauses asks whether it still has to.
constexpr absl::Duration kPauseInterval = absl::Seconds(1);

// The codes of a delta's live passages.
CodedPassages LiveCodes(std::shared_ptr<const Codec> codec,
                        const DeltaSnapshot& delta) {
  CodedPassages live{.codec = std::move(codec)};
  const size_t bytes = live.codec->code_bytes();
  live.passages.reserve(delta.live());
  live.codes.reserve(delta.live() * bytes);
  delta.ForEachBlock([&](std::span<const uint8_t> codes,
                         std::span<const PassageId> passages, size_t first) {
    for (size_t i = 0; i < passages.size(); ++i) {
      if (!delta.IsDead(first + i)) {
        const std::span<const uint8_t> code = codes.subspan(i * bytes, bytes);
        live.passages.push_back(passages[i]);
        live.codes.insert(live.codes.end(), code.begin(), code.end());
      }
    }
  });
  return live;
}

using Segments = std::vector<std::shared_ptr<const Segment>>;

Segments WithCodebook(Segments segments,
                      const std::shared_ptr<const Codebook>& codebook) {
  std::erase_if(segments, [&codebook](const auto& segment) {
    return segment->codebook() != codebook;
  });
  return segments;
}

bool HasDead(const Segments& segments, const PassageSet& dead) {
  return std::any_of(segments.begin(), segments.end(),
                     [&dead](const auto& segment) {
                       for (size_t node = 0; node < segment->size(); ++node) {
                         if (dead.Contains(segment->passage(node))) {
                           return true;
                         }
                       }
                       return false;
                     });
}

// The codes of a segment's passages that are not in `dead`; the others are
// appended to `dropped`.
CodedPassages LiveCodes(const std::shared_ptr<const Segment>& segment,
                        const PassageSet& dead,
                        std::vector<PassageId>& dropped) {
  CodedPassages live{.codec = segment->codebook()};
  if (segment->graph() != nullptr) {
    live.segment = segment;
    live.gone.resize(segment->size());
  }
  const size_t bytes = live.codec->code_bytes();
  live.passages.reserve(segment->size());
  live.codes.reserve(segment->size() * bytes);
  for (size_t node = 0; node < segment->size(); ++node) {
    const PassageId passage = segment->passage(node);
    if (dead.Contains(passage)) {
      dropped.push_back(passage);
      if (live.segment != nullptr) {
        live.gone[node] = true;
      }
      continue;
    }
    live.passages.push_back(passage);
    live.codes.resize(live.codes.size() + bytes);
    segment->CopyCode(node, std::span(live.codes).last(bytes));
  }
  return live;
}

}  // namespace

size_t Collection::SealedPassages(
    const std::vector<std::shared_ptr<const Segment>>& segments) {
  size_t passages = 0;
  for (const auto& segment : segments) {
    passages += segment->size();
  }
  return passages;
}

std::vector<std::shared_ptr<const Codebook>> Collection::CodebooksOf(
    const Segments& segments) {
  std::vector<std::shared_ptr<const Codebook>> codebooks;
  for (const auto& segment : segments) {
    if (std::find(codebooks.begin(), codebooks.end(), segment->codebook()) ==
        codebooks.end()) {
      codebooks.push_back(segment->codebook());
    }
  }
  return codebooks;
}

absl::Status Collection::LoadSegments(Generation& generation) {
  PITH_ASSIGN_OR_RETURN(const std::optional<std::string> manifest,
                        store_->GetManifest());
  if (manifest) {
    PITH_ASSIGN_OR_RETURN(manifest_, DecodeManifest(*manifest));
  }
  for (const SegmentRef& ref : manifest_.segments) {
    PITH_ASSIGN_OR_RETURN(auto segment,
                          directory_.LoadSegment(ref, config_.model.dimension,
                                                 generation.segments));
    generation.segments.push_back(std::move(segment));
  }
  if (config_.vector_source == VectorSource::kStoredHubs) {
    MutexLock lock(mutex_);
    for (const auto& segment : generation.segments) {
      const std::vector<PassageId> hubs = segment->Hubs();
      hubs_.insert(hubs_.end(), hubs.begin(), hubs.end());
    }
    current_hubs_.insert(hubs_.begin(), hubs_.end());
  }
  absl::flat_hash_set<PassageId> dead;
  PITH_RETURN_IF_ERROR(store_->VisitTombstones([&dead](PassageId passage) {
    dead.insert(passage);
    return absl::OkStatus();
  }));
  generation.dead = PassageSet(std::move(dead));
  return absl::OkStatus();
}

void Collection::RemoveUnreferencedFiles() {
  const absl::Status removed = directory_.RemoveUnreferenced(manifest_);
  LOG_IF(ERROR, !removed.ok())
      << "collection \"" << config_.name << "\": " << removed;
}

absl::StatusOr<CompactResult> Collection::Compact(
    const CompactOptions& options, std::function<bool()> cancelled,
    std::function<void(const CompactProgress&)> progress) {
  CompactRequest request = {.options = options,
                            .cancelled = std::move(cancelled),
                            .progress = std::move(progress)};
  {
    MutexLock lock(mutex_);
    compact_requests_.push_back(&request);
    seal_changed_.SignalAll();
  }
  while (true) {
    const bool cancel = request.cancelled();
    MutexLock lock(mutex_);
    if (request.result) {
      return *std::move(request.result);
    }
    // One that has started asks `cancelled` itself, and ends soon when the
    // collection stops.
    if (!request.started && (stopping_ || cancel)) {
      std::erase(compact_requests_, &request);
      return stopping_ ? ClosedError()
                       : absl::CancelledError("compaction was cancelled");
    }
    seal_changed_.WaitFor(mutex_, kCancelInterval);
  }
}

void Collection::RunSealer() {
  SetThreadName("sealer");
  // Of this thread alone, and those it starts; it cannot fail for itself.
  setpriority(PRIO_PROCESS, 0, kSealNice);
  absl::Duration retry_delay = absl::ZeroDuration();
  absl::Time retry_time = absl::InfinitePast();
  while (true) {
    CompactRequest* request = nullptr;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && compact_requests_.empty() &&
             (!WantsSealing(*generation_) || absl::Now() < retry_time)) {
        if (absl::Now() < retry_time) {
          seal_changed_.WaitFor(mutex_, retry_time - absl::Now());
        } else {
          seal_changed_.Wait(mutex_);
        }
      }
      if (stopping_) {
        return;
      }
      if (!compact_requests_.empty()) {
        request = compact_requests_.front();
        request->started = true;
      }
    }
    absl::StatusOr<CompactResult> result =
        request != nullptr ? ServeCompact(*request) : SealDelta();
    // A precondition is the request's that it does not meet.
    const bool failed = !result.ok() && !absl::IsCancelled(result.status()) &&
                        !absl::IsFailedPrecondition(result.status());
    retry_delay = failed ? std::clamp(2 * retry_delay, options_.min_retry_delay,
                                      options_.max_retry_delay)
                         : absl::ZeroDuration();
    retry_time = absl::Now() + retry_delay;
    const bool cancelled = request != nullptr && request->cancelled();
    // Its request is told; sealing itself may work.
    const bool of_embedder = request != nullptr && request->options.recompute;
    MutexLock lock(mutex_);
    if (stopping_ && !result.ok() && !cancelled) {
      result = ClosedError();
    } else if ((failed && !of_embedder) || result.ok()) {
      LOG_IF(ERROR, failed && sealing_error_ != result.status())
          << "collection \"" << config_.name
          << "\": sealing failed: " << result.status();
      sealing_error_ = result.status();
    }
    if (request != nullptr && result.ok() &&
        result->replaced_segments + result->sealed_passages > 0) {
      // What was asked for is fewer bytes: the store gives back what codes
      // left.
      unsettled_bytes_ += kMinUnsettledBytes + counts_.text_bytes;
      work_changed_.SignalAll();
    }
    if (request != nullptr) {
      request->result = std::move(result);
      compact_requests_.pop_front();
      seal_changed_.SignalAll();
    }
  }
}

absl::Status Collection::ClosedError() const {
  return absl::UnavailableError(
      absl::StrCat("collection \"", config_.name, "\" was closed"));
}

bool Collection::ManyDead(const Generation& generation) {
  return generation.dead.size() >
         SealedPassages(generation.segments) / kDeadPart;
}

bool Collection::WantsSealing(const Generation& generation) const {
  return ManyDead(generation) ||
         generation.delta->live() >= SealedFrom(generation);
}

size_t Collection::SealedFrom(const Generation& generation) const {
  return generation.segments.empty() ? MinCodebookPassages()
                                     : options_.seal_passages;
}

CodeShape Collection::Shape() const {
  return ShapeOf(config_.profile, config_.model.dimension);
}

size_t Collection::MinCodebookPassages() const {
  return std::max(options_.seal_passages, MinTrainingVectors(Shape()));
}

absl::StatusOr<CompactResult> Collection::ServeCompact(
    CompactRequest& request) {
  const std::shared_ptr<const Generation> generation = CurrentGeneration();
  CompactProgress progress = {.passages = generation->delta->live() +
                                          SealedPassages(generation->segments) -
                                          generation->dead.size()};
  SealControl control = MakeSealControl(&request);
  control.progress = [&](SealPhase phase) {
    progress.phase = phase;
    request.progress(progress);
  };
  if (!request.options.recompute) {
    return SealByCodebook(control);
  }
  return SealRecomputed(*generation, control, [&](size_t recomputed) {
    progress.recomputed = recomputed;
    control.progress(SealPhase::kRecomputing);
  });
}

SealControl Collection::MakeSealControl(CompactRequest* request) {
  const std::function<bool()> cancelled = [this, request] {
    return cancel_background_.load() ||
           (request != nullptr && request->cancelled());
  };
  SealControl control = {.threads = options_.seal_threads,
                         .cancelled = cancelled};
  if (options_.throttle != nullptr) {
    control.pace = [this, request, cancelled] {
      if (request == nullptr) {
        WaitWhilePaused(cancelled);
      }
      options_.throttle->Wait(cancelled);
    };
  }
  return control;
}

void Collection::WaitWhilePaused(const std::function<bool()>& cancelled) {
  bool paused = false;
  while (!cancelled()) {
    std::optional<std::string> reason =
        options_.throttle->PauseReason(absl::Now());
    if (!reason) {
      break;
    }
    {
      MutexLock lock(mutex_);
      if (!compact_requests_.empty() ||
          generation_->delta->live() >=
              kMaxPausedDelta * SealedFrom(*generation_)) {
        break;
      }
      sealing_pause_ = *std::move(reason);
      // Requests, writes and Close wake it before.
      seal_changed_.WaitFor(mutex_, kPauseInterval);
    }
    paused = true;
  }
  // Searches take the lock, too.
  if (paused) {
    MutexLock lock(mutex_);
    sealing_pause_.clear();
  }
}

absl::StatusOr<CompactResult> Collection::SealDelta() {
  const SealControl control = MakeSealControl(nullptr);
  // Before it takes memory.
  control.pace();
  const std::shared_ptr<const Generation> generation = CurrentGeneration();
  if (!WantsSealing(*generation)) {
    return CompactResult{};
  }
  if (ManyDead(*generation)) {
    return SealByCodebook(control);
  }
  PITH_ASSIGN_OR_RETURN(std::optional<SegmentPlan> plan,
                        PlanDelta(*generation, control));
  if (!plan) {
    return CompactResult{.delta_passages = generation->delta->live(),
                         .required_passages = MinCodebookPassages()};
  }
  // Segments that are not much larger than what comes from the delta go into
  // the new one, so that there are few and each passage moves O(log n) times.
  Segments replaced = WithCodebook(generation->segments, plan->codebook);
  std::sort(replaced.begin(), replaced.end(), [](const auto& a, const auto& b) {
    return std::pair(a->size(), a->number()) <
           std::pair(b->size(), b->number());
  });
  size_t passages = generation->delta->live();
  size_t count = 0;
  while (count < replaced.size() && replaced[count]->size() <= passages) {
    passages += replaced[count]->size();
    ++count;
  }
  replaced.resize(count);
  AddSegments(*generation, replaced, *plan);
  return Seal(*std::move(plan), control);
}

absl::StatusOr<CompactResult> Collection::SealByCodebook(
    const SealControl& control) {
  CompactResult result;
  const auto seal = [&](SegmentPlan plan) -> absl::Status {
    PITH_ASSIGN_OR_RETURN(const CompactResult sealed,
                          Seal(std::move(plan), control));
    result.sealed_passages += sealed.sealed_passages;
    result.segment_passages += sealed.segment_passages;
    result.segments += sealed.segments;
    result.replaced_segments += sealed.replaced_segments;
    result.trained_codebook |= sealed.trained_codebook;
    return absl::OkStatus();
  };
  const std::shared_ptr<const Generation> generation = CurrentGeneration();
  std::shared_ptr<const Codebook> of_delta;
  if (generation->delta->live() > 0) {
    PITH_ASSIGN_OR_RETURN(std::optional<SegmentPlan> plan,
                          PlanDelta(*generation, control));
    if (plan) {
      of_delta = plan->codebook;
      AddSegments(*generation, WithCodebook(generation->segments, of_delta),
                  *plan);
      PITH_RETURN_IF_ERROR(seal(*std::move(plan)));
    } else {
      result.delta_passages = generation->delta->live();
      result.required_passages = MinCodebookPassages();
    }
  }
  for (const auto& codebook : CodebooksOf(generation->segments)) {
    if (codebook == of_delta) {
      continue;
    }
    // As they are by now.
    const std::shared_ptr<const Generation> now = CurrentGeneration();
    const Segments segments = WithCodebook(now->segments, codebook);
    if (segments.size() > 1 || HasDead(segments, now->dead)) {
      SegmentPlan plan = {.codebook = codebook};
      AddSegments(*now, segments, plan);
      PITH_RETURN_IF_ERROR(seal(std::move(plan)));
    }
  }
  return result;
}

absl::StatusOr<CompactResult> Collection::SealRecomputed(
    const Generation& generation, const SealControl& control,
    absl::FunctionRef<void(size_t)> recomputed) {
  SegmentPlan plan;
  AddDelta(LiveCodes(codec_, *generation.delta), plan);
  AddSegments(generation, generation.segments, plan);
  std::vector<PassageId> ids;
  for (const CodedPassages& part : std::exchange(plan.parts, {})) {
    ids.insert(ids.end(), part.passages.begin(), part.passages.end());
  }
  if (ids.size() < MinCodebookPassages()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "to compact collection \"", config_.name,
        "\" with recomputed vectors takes a codebook, which is trained on ",
        MinCodebookPassages(), " passages or more; it has ", ids.size()));
  }
  std::sort(ids.begin(), ids.end());

  const RequestContext context = {.cancelled = control.cancelled,
                                  .priority = EmbedPriority::kIngest};
  CodedPassages codes = {.codec = codec_};
  const size_t bytes = codec_->code_bytes();
  absl::flat_hash_set<PassageId> deleted(ids.begin(), ids.end());
  for (size_t begin = 0; begin < ids.size(); begin += kRecomputedAtOnce) {
    recomputed(begin);
    PITH_ASSIGN_OR_RETURN(
        const std::vector<Passage> passages,
        ReadExisting(std::span(ids).subspan(
            begin, std::min(kRecomputedAtOnce, ids.size() - begin))));
    if (passages.empty()) {
      continue;
    }
    PITH_ASSIGN_OR_RETURN(const Matrix vectors, Recompute(passages, context));
    for (size_t i = 0; i < passages.size(); ++i) {
      deleted.erase(passages[i].id);
      codes.passages.push_back(passages[i].id);
      codes.codes.resize(codes.codes.size() + bytes);
      codec_->Encode(vectors.row(i), std::span(codes.codes).last(bytes));
    }
  }
  // What was deleted by now is in neither the delta nor the new segment.
  std::erase_if(plan.write.from_delta, [&deleted](PassageId passage) {
    return deleted.erase(passage) > 0;
  });
  plan.write.dropped.insert(plan.write.dropped.end(), deleted.begin(),
                            deleted.end());
  PITH_ASSIGN_OR_RETURN(plan.codebook,
                        TrainFromCodes(codes, Shape(), kSeed, control));
  plan.trained_codebook = true;
  plan.parts.push_back(std::move(codes));
  return Seal(std::move(plan), control);
}

absl::StatusOr<Matrix> Collection::Recompute(std::span<const Passage> passages,
                                             const RequestContext& context) {
  absl::Duration delay = options_.min_retry_delay;
  for (int tries = 1;; ++tries) {
    VectorCounts counts;
    absl::StatusOr<Matrix> vectors =
        exact_vectors_.Get(passages, context, counts);
    // A worker starts again, a queue empties.
    const bool may_pass = absl::IsUnavailable(vectors.status()) ||
                          absl::IsResourceExhausted(vectors.status());
    if (!may_pass || tries == kMaxRecomputeTries) {
      return vectors;
    }
    const absl::Time next = absl::Now() + delay;
    while (absl::Now() < next && !context.cancelled()) {
      absl::SleepFor(std::min(delay, kCancelInterval));
    }
    delay = std::min(2 * delay, options_.max_retry_delay);
  }
}

absl::StatusOr<std::optional<Collection::SegmentPlan>> Collection::PlanDelta(
    const Generation& generation, const SealControl& control) const {
  CodedPassages codes = LiveCodes(codec_, *generation.delta);
  const bool enough = codes.passages.size() >= MinCodebookPassages();
  SegmentPlan plan;
  if (!generation.segments.empty()) {
    const auto codebooks = CodebooksOf(generation.segments);
    PITH_ASSIGN_OR_RETURN(
        CodebookChoice choice,
        ChooseCodebook(codes, codebooks, Shape(), kSeed, control));
    if (choice.misfit) {
      LOG(INFO) << "collection \"" << config_.name << "\": of "
                << codebooks.size() << " codebooks the best errs by "
                << *choice.misfit << " of what one trained on the delta's "
                << codes.passages.size() << " passages does";
    }
    plan.trained_codebook =
        choice.own != nullptr && codebooks.size() < kMaxCodebooks;
    plan.codebook = plan.trained_codebook ? std::move(choice.own)
                                          : std::move(choice.existing);
    if (plan.trained_codebook && !enough) {
      return std::nullopt;
    }
  } else if (enough) {
    PITH_ASSIGN_OR_RETURN(plan.codebook,
                          TrainFromCodes(codes, Shape(), kSeed, control));
    plan.trained_codebook = true;
  } else {
    return std::nullopt;
  }
  AddDelta(std::move(codes), plan);
  return plan;
}

void Collection::AddDelta(CodedPassages codes, SegmentPlan& plan) {
  plan.write.from_delta = codes.passages;
  plan.parts.push_back(std::move(codes));
}

void Collection::AddSegments(const Generation& generation,
                             const Segments& segments,
                             SegmentPlan& plan) const {
  for (const auto& segment : segments) {
    plan.write.replaced.push_back(segment->number());
    if (config_.vector_source == VectorSource::kStoredHubs) {
      const std::vector<PassageId> hubs = segment->Hubs();
      plan.write.former_hubs.insert(plan.write.former_hubs.end(), hubs.begin(),
                                    hubs.end());
    }
    plan.parts.push_back(
        LiveCodes(segment, generation.dead, plan.write.dropped));
  }
}

absl::StatusOr<CompactResult> Collection::Seal(SegmentPlan plan,
                                               const SealControl& control) {
  if (commit_unknown_) {
    // Its file may be the manifest's after a restart, until this is durable.
    PITH_RETURN_IF_ERROR(Publish({}));
  }
  absl::StatusOr<CompactResult> result =
      BuildAndPublish(std::move(plan), control);
  if (!result.ok() && !commit_unknown_) {
    RemoveUnreferencedFiles();
  }
  return result;
}

absl::StatusOr<CompactResult> Collection::BuildAndPublish(
    SegmentPlan plan, const SealControl& control) {
  const absl::Time start = absl::Now();
  SealedWrite& write = plan.write;
  CompactResult result = {.sealed_passages = write.from_delta.size(),
                          .replaced_segments = write.replaced.size()};
  for (const CodedPassages& part : plan.parts) {
    result.segment_passages += part.passages.size();
  }
  if (result.segment_passages > 0) {
    result.segments = 1;
    result.trained_codebook = plan.trained_codebook;
    // Also if it was there: the manifest is to name nothing that is not.
    PITH_RETURN_IF_ERROR(directory_.WriteCodebook(plan.codebook->hash(),
                                                  plan.codebook->Serialize()));
    PITH_ASSIGN_OR_RETURN(
        SegmentContent content,
        BuildSegment(std::move(plan.parts), plan.codebook,
                     options_.min_graph_passages, kSeed, control));
    const uint64_t number = manifest_.next_segment;
    PITH_ASSIGN_OR_RETURN(write.ref, directory_.WriteSegment(number, content));
    PITH_ASSIGN_OR_RETURN(
        write.segment,
        Segment::Make(number, std::move(content), std::move(plan.codebook)));
    if (config_.vector_source == VectorSource::kStoredHubs) {
      write.hubs = write.segment->Hubs();
      const absl::flat_hash_set<PassageId> hubs(write.hubs.begin(),
                                                write.hubs.end());
      std::erase_if(write.former_hubs,
                    [&hubs](PassageId id) { return hubs.contains(id); });
    }
  }
  if (control.cancelled()) {
    return absl::CancelledError("sealing was cancelled");
  }
  PITH_RETURN_IF_ERROR(Publish(std::move(write)));
  LOG(INFO) << "collection \"" << config_.name << "\": sealed "
            << result.sealed_passages << " passages, replaced "
            << result.replaced_segments << " segments, new segment of "
            << result.segment_passages << ", in " << absl::Now() - start;
  return result;
}

absl::Status Collection::Publish(SealedWrite write) {
  std::promise<absl::Status> published;
  std::future<absl::Status> future = published.get_future();
  write.done = [&published](const absl::Status& status) {
    published.set_value(status);
  };
  {
    MutexLock lock(mutex_);
    if (stopping_) {
      return absl::CancelledError("the collection is closing");
    }
    queue_.push_back({.write = std::move(write)});
    write_queued_.Signal();
  }
  return future.get();
}

absl::Status Collection::ApplySealed(const SealedWrite& write) {
  const std::shared_ptr<const Generation> current = CurrentGeneration();
  const auto is_replaced = [&write](uint64_t number) {
    return std::find(write.replaced.begin(), write.replaced.end(), number) !=
           write.replaced.end();
  };
  Manifest manifest = manifest_;
  std::erase_if(manifest.segments,
                [&](const SegmentRef& ref) { return is_replaced(ref.number); });
  if (write.segment != nullptr) {
    manifest.segments.push_back(write.ref);
    manifest.next_segment = write.ref.number + 1;
  }

  StoreBatch batch;
  {
    MutexLock lock(mutex_);
    batch.counts = counts_;
  }
  batch.manifest = EncodeManifest(manifest);
  for (const PassageId passage : write.from_delta) {
    // One that was deleted since sealing began is in the segment all the same.
    (delta_.Contains(passage) ? batch.erase_codes : batch.put_tombstones)
        .push_back(passage);
  }
  batch.erase_tombstones = write.dropped;
  batch.erase_vectors = write.former_hubs;
  const absl::Status committed = store_->Commit(batch, Durability::kSynced);
  commit_unknown_ = !committed.ok();
  PITH_RETURN_IF_ERROR(committed);

  manifest_ = std::move(manifest);
  for (const PassageId passage : write.former_hubs) {
    current_hubs_.erase(passage);
  }
  current_hubs_.insert(write.hubs.begin(), write.hubs.end());
  for (const PassageId passage : batch.erase_codes) {
    delta_.Erase(passage);
  }
  auto next = std::make_shared<Generation>(*current);
  ++next->number;
  next->delta = delta_.Snapshot();
  std::erase_if(next->segments, [&](const auto& segment) {
    return is_replaced(segment->number());
  });
  if (write.segment != nullptr) {
    next->segments.push_back(write.segment);
  }
  if (!write.dropped.empty()) {
    next->dead = next->dead.Without(write.dropped);
  }
  if (!batch.put_tombstones.empty()) {
    next->dead = next->dead.With(batch.put_tombstones);
  }
  {
    MutexLock lock(mutex_);
    generation_ = std::move(next);
    if (!write.hubs.empty() || !write.former_hubs.empty()) {
      hubs_.assign(current_hubs_.begin(), current_hubs_.end());
    }
    // Codes of four bits left the store.
    unsettled_bytes_ += batch.erase_codes.size() * codec_->code_bytes();
    work_changed_.SignalAll();
    seal_changed_.SignalAll();
  }
  // Segments are read whole when they are opened, so that no search needs these
  // files any more.
  RemoveUnreferencedFiles();
  return absl::OkStatus();
}

}  // namespace pith
