#include "benchmarks/update/rounds.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/update/line_documents.h"
#include "benchmarks/update/live_collection.h"
#include "benchmarks/update/process_usage.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

double Ratio(double a, double b) {
  return b == 0 ? 0 : a / b;
}

double Seconds(absl::Time start) {
  return absl::ToDoubleSeconds(absl::Now() - start);
}

// Whole changes of documents.
size_t PassagesARound(const RoundsOptions& options) {
  return static_cast<size_t>(
             std::lround(options.share * static_cast<double>(options.passages) /
                         static_cast<double>(options.changed_passages))) *
         options.changed_passages;
}

KnownEmbedder TableEmbedder(const VectorTable& table,
                            const VectorTexts& texts) {
  return {static_cast<int>(texts.vectors.columns()),
          [&table](std::string_view text, std::span<float> vector) {
            return table.Fill(text, vector);
          }};
}

absl::StatusOr<std::unique_ptr<LiveCollection>> Create(
    const RoundsOptions& options, std::string_view name, Embedder& embedder) {
  LiveCollection::Options live = options.live;
  live.target_tokens = KnownEmbedder::kLineTokens;
  return LiveCollection::Create(options.directory / name, embedder, live);
}

// What a collection at rest is like.
absl::StatusOr<Json> Look(const RoundsOptions& options,
                          const LiveCollection& live, std::string_view row,
                          std::string_view state, const VectorTable& table,
                          const LineDocuments& documents,
                          const Matrix& queries) {
  live.WaitQuiet();
  const CollectionStatus status = live->GetStatus();
  PITH_RETURN_IF_ERROR(status.sealing_error);
  const Truth truth = documents.FindTruth(queries, options.threads);
  PITH_ASSIGN_OR_RETURN(
      const LiveRecall fixed,
      MeasureRecall(*live, table, queries, truth,
                    {.recall_target = std::nullopt, .rerank = options.rerank}));
  PITH_ASSIGN_OR_RETURN(const LiveRecall adaptive,
                        MeasureRecall(*live, table, queries, truth, {}));
  PITH_ASSIGN_OR_RETURN(const uint64_t total_bytes, live.TotalBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t segment_bytes, live.SegmentBytes());
  const auto passages = static_cast<double>(status.counts.passages);
  Json json = {
      {"row", row},
      {"state", state},
      {"passages", status.counts.passages},
      {"recall_at_10", fixed.recall},
      {"rerank", options.rerank},
      {"recall_at_10_target_95", adaptive.recall},
      {"recomputed_target_95", adaptive.recomputed},
      {"segments", status.segments},
      {"codebooks", status.codebooks},
      {"delta_passages", status.delta_passages},
      {"dead_passages", status.dead_passages},
      {"disk_bytes_per_passage",
       Ratio(static_cast<double>(total_bytes), passages)},
      {"segment_bytes_per_passage",
       Ratio(static_cast<double>(segment_bytes), passages)},
      {"memory_bytes_per_passage",
       Ratio(static_cast<double>(status.code_memory_bytes), passages)},
      {"text_bytes_per_passage",
       Ratio(static_cast<double>(status.counts.text_bytes), passages)}};
  absl::FPrintF(stderr, "%s\n", json.dump());
  return json;
}

absl::Status Compact(const LiveCollection& live,
                     const CompactOptions& options = {}) {
  return live
      ->Compact(
          options, [] { return false; }, [](const CompactProgress&) {})
      .status();
}

}  // namespace

size_t RoundsTexts(const RoundsOptions& options) {
  return options.passages + options.rounds * PassagesARound(options);
}

absl::StatusOr<std::vector<Json>> MeasureRounds(const RoundsOptions& options,
                                                const VectorTexts& texts) {
  const VectorTable table(texts);
  KnownEmbedder embedder = TableEmbedder(table, texts);
  LineDocuments documents(texts, options.passages, options.document_passages);
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<LiveCollection> live,
                        Create(options, "rounds", embedder));
  std::vector<Json> rows;
  const auto look = [&](const LiveCollection& collection,
                        std::string_view state) -> absl::Status {
    PITH_ASSIGN_OR_RETURN(Json row, Look(options, collection, "rounds", state,
                                         table, documents, texts.queries));
    rows.push_back(std::move(row));
    return absl::OkStatus();
  };
  PITH_RETURN_IF_ERROR(live->PutAndEmbed(documents.AllInputs()).status());
  PITH_RETURN_IF_ERROR(look(*live, "filled"));

  PITH_ASSIGN_OR_RETURN(const uint64_t written_before, WrittenBytes());
  absl::Duration time;
  absl::Duration processor_time;
  size_t changed_documents = 0;
  size_t replaced = 0;
  size_t embedded = 0;
  uint64_t added_bytes = 0;
  const CodeShape shape = ShapeOf(CodeProfile::kBalanced,
                                  static_cast<int>(texts.vectors.columns()));
  for (size_t round = 1; round <= options.rounds; ++round) {
    const LineDocuments::Replaced change =
        documents.Replace(PassagesARound(options), options.changed_passages);
    std::vector<DocumentInput> inputs;
    for (const size_t document : change.documents) {
      inputs.push_back(documents.Input(document));
    }
    const absl::Time start = absl::Now();
    const absl::Duration processor_start = ProcessorTime();
    PITH_ASSIGN_OR_RETURN(const size_t to_embed,
                          live->PutAndEmbed(std::move(inputs)));
    time += absl::Now() - start;
    embedded += to_embed;
    replaced += change.passages;
    changed_documents += change.documents.size();
    added_bytes += change.text_bytes + change.passages * shape.code_bytes();
    const bool last = round == options.rounds;
    if (last || round % options.check_every == 0) {
      live->WaitQuiet();
    }
    processor_time += ProcessorTime() - processor_start;
    if (last || round % options.check_every == 0) {
      PITH_RETURN_IF_ERROR(
          look(*live, absl::StrFormat("after round %d", round)));
    }
  }
  PITH_ASSIGN_OR_RETURN(const uint64_t written_after, WrittenBytes());
  PITH_RETURN_IF_ERROR(Compact(*live));
  PITH_RETURN_IF_ERROR(look(*live, "compacted"));
  PITH_RETURN_IF_ERROR(Compact(*live, {.recompute = true}));
  PITH_RETURN_IF_ERROR(look(*live, "compacted, recomputed"));
  live.reset();

  PITH_ASSIGN_OR_RETURN(const uint64_t written_before_fresh, WrittenBytes());
  const absl::Time start = absl::Now();
  PITH_ASSIGN_OR_RETURN(live, Create(options, "fresh", embedder));
  PITH_RETURN_IF_ERROR(live->PutAndEmbed(documents.AllInputs()).status());
  const double fresh_seconds = Seconds(start);
  PITH_RETURN_IF_ERROR(look(*live, "fresh"));
  PITH_ASSIGN_OR_RETURN(const uint64_t written_after_fresh, WrittenBytes());
  PITH_RETURN_IF_ERROR(Compact(*live));
  PITH_RETURN_IF_ERROR(look(*live, "fresh, compacted"));
  PITH_RETURN_IF_ERROR(Compact(*live, {.recompute = true}));
  PITH_RETURN_IF_ERROR(look(*live, "fresh, compacted, recomputed"));

  const auto written = static_cast<double>(written_after - written_before);
  Json cost = {
      {"row", "rounds cost"},
      {"rounds", options.rounds},
      {"min_graph_passages", options.live.collection.min_graph_passages},
      {"changed_documents", changed_documents},
      {"replaced_passages", replaced},
      {"embedded_passages", embedded},
      {"seconds_per_round",
       Ratio(absl::ToDoubleSeconds(time), static_cast<double>(options.rounds))},
      {"processor_seconds_per_round",
       Ratio(absl::ToDoubleSeconds(processor_time),
             static_cast<double>(options.rounds))},
      {"added_bytes", added_bytes},
      {"written_bytes", written_after - written_before},
      {"write_amplification", Ratio(written, static_cast<double>(added_bytes))},
      {"rebuild_embedded_passages", documents.passages()},
      {"rebuild_seconds_without_model", fresh_seconds},
      {"rebuild_written_bytes", written_after_fresh - written_before_fresh}};
  if (options.model_passages_per_second) {
    const double rate = *options.model_passages_per_second;
    cost["model_passages_per_second"] = rate;
    cost["model_seconds_per_round"] =
        Ratio(static_cast<double>(embedded),
              rate * static_cast<double>(options.rounds));
    cost["rebuild_model_seconds"] =
        static_cast<double>(documents.passages()) / rate;
  }
  absl::FPrintF(stderr, "%s\n", cost.dump());
  rows.push_back(std::move(cost));
  return rows;
}

absl::StatusOr<std::vector<Json>> MeasureDeletion(const RoundsOptions& options,
                                                  const VectorTexts& texts) {
  const VectorTable table(texts);
  KnownEmbedder embedder = TableEmbedder(table, texts);
  LineDocuments documents(texts, options.passages, options.document_passages);
  PITH_ASSIGN_OR_RETURN(std::unique_ptr<LiveCollection> live,
                        Create(options, "deletion", embedder));
  PITH_RETURN_IF_ERROR(live->PutAndEmbed(documents.AllInputs()).status());
  live->WaitQuiet();
  PITH_ASSIGN_OR_RETURN(const uint64_t before, live->TotalBytes());

  std::vector<std::string> ids;
  const size_t kept = std::max<size_t>(1, documents.size() / 10);
  for (size_t i = kept; i < documents.size(); ++i) {
    ids.push_back(documents.Input(i).id);
  }
  documents.Truncate(kept);
  const absl::Time start = absl::Now();
  PITH_RETURN_IF_ERROR((*live)->DeleteAndWait(std::move(ids)).status());
  const double acknowledged = Seconds(start);
  // The directory's size until nothing works any more.
  std::vector<std::pair<double, uint64_t>> sizes;
  absl::Duration used = ProcessorTime();
  absl::Time window = absl::Now();
  while (true) {
    constexpr absl::Duration kWindow = absl::Seconds(3);
    constexpr double kQuietShare = 0.05;
    PITH_ASSIGN_OR_RETURN(const uint64_t bytes, live->TotalBytes());
    sizes.emplace_back(Seconds(start), bytes);
    absl::SleepFor(absl::Milliseconds(50));
    if (absl::Now() - window > kWindow) {
      if (ProcessorTime() - used < kQuietShare * kWindow) {
        break;
      }
      used = ProcessorTime();
      window = absl::Now();
    }
  }
  const uint64_t unasked = sizes.back().second;
  const auto back = std::find_if(sizes.begin(), sizes.end(), [&](auto& size) {
    return static_cast<double>(size.second) <=
           1.1 * static_cast<double>(unasked);
  });
  const CollectionStatus status = (*live)->GetStatus();
  PITH_RETURN_IF_ERROR(Compact(*live));
  live->WaitQuiet();
  PITH_ASSIGN_OR_RETURN(const uint64_t compacted, live->TotalBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t segments, live->SegmentBytes());
  live.reset();

  PITH_ASSIGN_OR_RETURN(live, Create(options, "fresh", embedder));
  PITH_RETURN_IF_ERROR(live->PutAndEmbed(documents.AllInputs()).status());
  live->WaitQuiet();
  PITH_ASSIGN_OR_RETURN(const uint64_t fresh, live->TotalBytes());
  Json row = {{"row", "deletion"},
              {"passages_before", options.passages},
              {"passages_after", status.counts.passages},
              {"bytes_before", before},
              {"acknowledged_seconds", acknowledged},
              {"bytes_unasked", unasked},
              {"seconds_until_back", back->first},
              {"dead_passages_unasked", status.dead_passages},
              {"bytes_compacted", compacted},
              {"segment_bytes_compacted", segments},
              {"bytes_fresh", fresh},
              {"unasked_over_fresh",
               Ratio(static_cast<double>(unasked), static_cast<double>(fresh))},
              {"compacted_over_fresh", Ratio(static_cast<double>(compacted),
                                             static_cast<double>(fresh))}};
  absl::FPrintF(stderr, "%s\n", row.dump());
  return std::vector<Json>{std::move(row)};
}

absl::StatusOr<std::vector<Json>> MeasureKnownSearches(
    const RoundsOptions& options, const SearchesOptions& searches,
    double adding_rate, const VectorTexts& texts) {
  const VectorTable table(texts);
  KnownEmbedder embedder = TableEmbedder(table, texts);
  LineDocuments documents(texts, options.passages, options.document_passages);
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<LiveCollection> live,
                        Create(options, "searches", embedder));
  PITH_RETURN_IF_ERROR(live->PutAndEmbed(documents.AllInputs()).status());
  live->WaitQuiet();
  const auto change = [&]() -> absl::Status {
    std::vector<DocumentInput> inputs;
    for (const size_t document :
         documents.Replace(options.changed_passages, options.changed_passages)
             .documents) {
      inputs.push_back(documents.Input(document));
    }
    return live->PutAndEmbed(std::move(inputs)).status();
  };
  const absl::Duration pause = absl::Seconds(
      static_cast<double>(options.changed_passages) / adding_rate);
  const auto change_at_rate = [&]() -> absl::Status {
    const absl::Time next = absl::Now() + pause;
    PITH_RETURN_IF_ERROR(change());
    absl::SleepFor(next - absl::Now());
    return absl::OkStatus();
  };
  return MeasureSearches(searches, **live, texts.queries,
                         {{.name = "nothing", .step = nullptr},
                          {.name = "adding", .step = change_at_rate},
                          MergingLoad(**live, change),
                          RecodingLoad(**live)});
}

}  // namespace pith
