// Documents as JSON Lines, out of a collection and into one.

#include <cerrno>
#include <cmath>
#include <fstream>
#include <iostream>
#include <limits>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "clients/cli/commands.h"
#include "clients/cli/json.h"
#include "clients/cli/rpc_status.h"
#include "clients/cli/text.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "proto/pith/v1/documents.grpc.pb.h"

namespace pith::cli {
namespace {

using v1::DocumentsService;

// A document's text has at most 64 MiB, of which JSON makes at most six times
// as much.
constexpr size_t kMaxLineBytes = size_t{400} << 20;
constexpr absl::Duration kMaxWait = absl::Hours(24 * 7);

Json ToLine(const v1::Document& document) {
  Json line = {{"id", document.id()},
               {"title", document.title()},
               {"text", document.text()}};
  Json metadata = Json::object();
  for (const auto& [key, value] : document.metadata()) {
    switch (value.kind_case()) {
      case v1::MetadataValue::kStringValue:
        metadata[key] = value.string_value();
        break;
      case v1::MetadataValue::kIntValue:
        metadata[key] = value.int_value();
        break;
      case v1::MetadataValue::kDoubleValue:
        // JSON has no other numbers.
        if (std::isfinite(value.double_value())) {
          metadata[key] = value.double_value();
        }
        break;
      case v1::MetadataValue::kBoolValue:
        metadata[key] = value.bool_value();
        break;
      case v1::MetadataValue::KIND_NOT_SET:
        break;
    }
  }
  line["metadata"] = std::move(metadata);
  return line;
}

absl::Status SetMetadata(const Json& json, v1::Document& document) {
  for (const auto& [key, value] : json.items()) {
    v1::MetadataValue& stored = (*document.mutable_metadata())[key];
    if (value.is_string()) {
      stored.set_string_value(value.get<std::string>());
    } else if (value.is_boolean()) {
      stored.set_bool_value(value.get<bool>());
    } else if (value.is_number_float()) {
      stored.set_double_value(value.get<double>());
    } else if (value.is_number_unsigned() &&
               value.get<uint64_t>() > uint64_t{INT64_MAX}) {
      return absl::InvalidArgumentError(
          absl::StrCat("metadata \"", key, "\" is ", value.dump(), ", over ",
                       std::numeric_limits<int64_t>::max()));
    } else if (value.is_number()) {
      stored.set_int_value(value.get<int64_t>());
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "metadata \"", key, "\" is no string, number, true or false"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::Document> FromLine(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::InvalidArgumentError("it is no JSON object");
  }
  v1::Document document;
  for (const auto& [key, value] : json.items()) {
    if (key == "metadata" && value.is_object()) {
      PITH_RETURN_IF_ERROR(SetMetadata(value, document));
    } else if (key == "id" && value.is_string()) {
      document.set_id(value.get<std::string>());
    } else if (key == "title" && value.is_string()) {
      document.set_title(value.get<std::string>());
    } else if (key == "text" && value.is_string()) {
      document.set_text(value.get<std::string>());
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "\"", key,
          "\" is not what it may have: \"id\", \"title\" and "
          "\"text\", which are strings, and \"metadata\", an object"));
    }
  }
  if (document.id().empty()) {
    return absl::InvalidArgumentError("it has no \"id\"");
  }
  return document;
}

struct ImportCounts {
  int64_t added = 0;
  int64_t updated = 0;
  int64_t unchanged = 0;
  int64_t failed = 0;
};

void Count(const v1::IngestResponse& response, ImportCounts& counts) {
  switch (response.outcome()) {
    case v1::IngestResponse::OUTCOME_ADDED:
      ++counts.added;
      break;
    case v1::IngestResponse::OUTCOME_UPDATED:
      ++counts.updated;
      break;
    case v1::IngestResponse::OUTCOME_UNCHANGED:
      ++counts.unchanged;
      break;
    default:
      ++counts.failed;
      std::cerr << "pith: " << PrintableLine(response.id()) << ": "
                << ReasonText(response.error()) << "\n";
  }
}

// Sends each line as a document; fails at the first that is none, when those
// before it are stored.
absl::StatusOr<ImportCounts> Send(DocumentsService::Stub& stub,
                                  const std::string& collection,
                                  std::istream& input,
                                  const std::string& name) {
  grpc::ClientContext context;
  const auto stream = stub.Ingest(&context);
  ImportCounts counts;
  std::thread reader([&] {
    v1::IngestResponse response;
    while (stream->Read(&response)) {
      Count(response, counts);
    }
  });
  v1::IngestRequest request;
  request.mutable_start()->set_collection(collection);
  bool open = stream->Write(request);
  absl::Status malformed;
  std::string line;
  for (int64_t number = 1; open && std::getline(input, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    absl::StatusOr<v1::Document> document =
        line.size() > kMaxLineBytes
            ? absl::InvalidArgumentError(absl::StrCat(
                  "it has ", line.size(), " bytes, over ", kMaxLineBytes))
            : FromLine(line);
    if (!document.ok()) {
      malformed =
          Annotate(document.status(), absl::StrCat(name, ", line ", number));
      break;
    }
    *request.mutable_document() = *std::move(document);
    open = stream->Write(request);
  }
  if (malformed.ok() && input.bad()) {
    malformed = absl::InternalError(absl::StrCat("read ", name, " failed"));
  }
  stream->WritesDone();
  reader.join();
  PITH_RETURN_IF_ERROR(OfCollection(FromGrpc(stream->Finish()), collection));
  if (!malformed.ok()) {
    return WithHint(malformed, "what stands before it is stored");
  }
  return counts;
}

}  // namespace

absl::StatusOr<Outcome> Export(const Invocation& invocation) {
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  DocumentsService::Stub stub(channel);
  v1::ListDocumentsRequest list;
  list.set_collection(invocation.collection);
  list.set_page_size(1000);
  v1::GetDocumentRequest get;
  get.set_collection(invocation.collection);
  int64_t unreadable = 0;
  do {
    const auto page = Call<v1::ListDocumentsResponse>(
        stub, &DocumentsService::Stub::ListDocuments, list);
    if (!page.ok()) {
      return OfCollection(page.status(), invocation.collection);
    }
    for (const auto& entry : page->documents()) {
      get.set_id(entry.id());
      const auto response = Call<v1::GetDocumentResponse>(
          stub, &DocumentsService::Stub::GetDocument, get);
      if (absl::IsNotFound(response.status())) {
        continue;  // Deleted since it was listed.
      }
      if (absl::IsDataLoss(response.status())) {
        // The others are what is left.
        ++unreadable;
        std::cerr << ErrorText(Annotate(response.status(), entry.id()),
                               invocation.json);
        continue;
      }
      PITH_RETURN_IF_ERROR(response.status());
      std::cout << ToLine(response->document()).dump() << "\n";
    }
    if (!std::cout.flush()) {
      return absl::ResourceExhaustedError(
          "write documents to standard output failed");
    }
    list.set_page_token(page->next_page_token());
  } while (!list.page_token().empty());
  if (unreadable > 0) {
    return absl::DataLossError(absl::StrCat(Plural(unreadable, "document"),
                                            " could not be read, see above"));
  }
  return Outcome::kDone;
}

absl::StatusOr<Outcome> Import(const Invocation& invocation,
                               const std::string& file) {
  std::ifstream opened;
  if (file != "-") {
    opened.open(invocation.working_directory / file, std::ios::binary);
    if (!opened) {
      return ErrnoStatus(errno, "open", file);
    }
  }
  PITH_ASSIGN_OR_RETURN(const auto channel, Connect(invocation.daemon));
  DocumentsService::Stub stub(channel);
  PITH_ASSIGN_OR_RETURN(
      const ImportCounts counts,
      Send(stub, invocation.collection, file == "-" ? std::cin : opened,
           file == "-" ? "standard input" : PrintableLine(file)));
  v1::WaitUntilSearchableRequest wait;
  wait.set_collection(invocation.collection);
  PITH_ASSIGN_OR_RETURN(
      const auto searchable,
      Call<v1::WaitUntilSearchableResponse>(
          stub, &DocumentsService::Stub::WaitUntilSearchable, wait, kMaxWait));
  if (invocation.json) {
    std::cout << JsonText({{"added", counts.added},
                           {"updated", counts.updated},
                           {"unchanged", counts.unchanged},
                           {"failed", counts.failed},
                           {"failed_passages", searchable.failed_passages()}});
  } else {
    std::cout << PrintableLine(invocation.collection) << ": "
              << FormatCount(counts.added) << " added, "
              << FormatCount(counts.updated) << " updated, "
              << FormatCount(counts.unchanged) << " unchanged\n";
  }
  if (counts.failed > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(Plural(counts.failed, "document"), " refused, see above"));
  }
  return Outcome::kDone;
}

}  // namespace pith::cli
