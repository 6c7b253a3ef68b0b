#include "benchmarks/update/bulk.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "benchmarks/update/live_collection.h"
#include "benchmarks/update/process_usage.h"
#include "benchmarks/update/texts.h"
#include "core/base/status_macros.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

// Documents that are given at a time.
constexpr size_t kDocumentsAtOnce = 10'000;

}  // namespace

absl::StatusOr<std::vector<Json>> MeasureBulk(const BulkOptions& options) {
  const MadeUpTexts made_up(options.dimension);
  KnownEmbedder embedder(static_cast<int>(options.dimension),
                         [&](std::string_view text, std::span<float> vector) {
                           made_up.FillVector(text, vector);
                           return true;
                         });
  LiveCollection::Options live_options = options.live;
  live_options.target_tokens = KnownEmbedder::kLineTokens;
  PITH_ASSIGN_OR_RETURN(const std::unique_ptr<LiveCollection> live,
                        LiveCollection::Create(options.directory / "bulk",
                                               embedder, live_options));
  PITH_ASSIGN_OR_RETURN(const uint64_t empty_bytes, live->TotalBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t resident_before, ResidentBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t written_before, WrittenBytes());
  PITH_RETURN_IF_ERROR(ResetPeakMemory());
  const OpenFileWatch files;

  const absl::Time start = absl::Now();
  const absl::Duration processor_start = ProcessorTime();
  size_t documents = 0;
  for (size_t next = 0; next < options.passages;) {
    std::vector<DocumentInput> inputs;
    while (inputs.size() < kDocumentsAtOnce && next < options.passages) {
      DocumentInput& input = inputs.emplace_back();
      input.id = absl::StrCat("document/", documents++);
      input.format = TextFormat::kCode;
      for (size_t i = 0;
           i < options.document_passages && next < options.passages;
           ++i, ++next) {
        absl::StrAppend(&input.text, made_up.Text(next, options.passage_bytes),
                        "\n");
      }
    }
    PITH_RETURN_IF_ERROR(live->Put(std::move(inputs)).status());
  }
  const double added = absl::ToDoubleSeconds(absl::Now() - start);
  PITH_RETURN_IF_ERROR(live->WaitSearchable());
  const double searchable = absl::ToDoubleSeconds(absl::Now() - start);
  live->WaitQuiet();
  const double quiet = absl::ToDoubleSeconds(absl::Now() - start);
  PITH_ASSIGN_OR_RETURN(const uint64_t bytes, live->TotalBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t segment_bytes, live->SegmentBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t peak, PeakResidentBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t resident, ResidentBytes());
  PITH_ASSIGN_OR_RETURN(const uint64_t written, WrittenBytes());
  const CollectionStatus status = (*live)->GetStatus();
  PITH_RETURN_IF_ERROR(status.sealing_error);
  Json row = {{"row", "bulk"},
              {"embedder", "made up"},
              {"passages", status.counts.passages},
              {"documents", documents},
              {"text_bytes", status.counts.text_bytes},
              {"seconds_until_durable", added},
              {"seconds_until_searchable", searchable},
              {"seconds_until_quiet", quiet},
              {"processor_seconds",
               absl::ToDoubleSeconds(ProcessorTime() - processor_start)},
              {"resident_bytes_before", resident_before},
              {"peak_resident_bytes", peak},
              {"resident_bytes_after", resident},
              {"code_memory_bytes", status.code_memory_bytes},
              {"peak_open_files", files.peak()},
              {"disk_bytes", bytes},
              {"segment_bytes", segment_bytes},
              {"written_bytes", written - written_before},
              {"segments", status.segments},
              {"codebooks", status.codebooks},
              {"delta_passages", status.delta_passages},
              {"empty_collection_bytes", empty_bytes}};
  absl::FPrintF(stderr, "%s\n", row.dump());
  return std::vector<Json>{std::move(row)};
}

}  // namespace pith
