#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

#include "clients/cli/json.h"
#include "clients/cli/rpc_status.h"
#include "core/base/reason.h"
#include "proto/pith/v1/admin.pb.h"
#include "proto/pith/v1/collections.pb.h"
#include "proto/pith/v1/operations.pb.h"
#include "proto/pith/v1/search.pb.h"
#include "tests/status_matchers.h"

namespace pith::cli {
namespace {

google::rpc::Status RpcStatusWithReason() {
  google::rpc::Status status;
  status.set_code(5);
  status.set_message("no such thing");
  google::rpc::ErrorInfo info;
  info.set_reason("THING_MISSING");
  status.add_details()->PackFrom(info);
  return status;
}

TEST(ToJson, CountsAreNumbersAndNamesAreStrings) {
  v1::SearchHit hit;
  hit.set_document_id("/a");
  hit.set_passage_id(18446744073709551615u);
  hit.set_score(0.9f);
  hit.set_first_line(1'000'000'000'000);
  const Json json = ToJson(hit);
  EXPECT_EQ(json["passage_id"], "18446744073709551615");
  EXPECT_EQ(json["first_line"], 1'000'000'000'000);
  EXPECT_EQ(json["score"].dump(), "0.9");
}

TEST(ToJson, FieldsThatAreNotSetAreThereButForMessagesAndOptionalOnes) {
  EXPECT_EQ(ToJson(v1::SearchRequest()).dump(),
            R"({"collection":"","mode":"SEARCH_MODE_UNSPECIFIED"})");
  EXPECT_EQ(ToJson(v1::SearchResponse()).dump(), R"({"hits":[]})");
  EXPECT_EQ(ToJson(v1::SkippedFile()).dump(),
            R"({"path":"","reason":"","detail":""})");
}

TEST(ToJson, OnlyTheOneofThatIsSetAppears) {
  v1::MetadataValue value;
  value.set_bool_value(false);
  EXPECT_EQ(ToJson(value).dump(), R"({"bool_value":false})");
}

TEST(ToJson, WellKnownTypesHaveTheirOwnForm) {
  v1::SearchStats stats;
  stats.mutable_total_time()->set_seconds(2);
  stats.mutable_total_time()->set_nanos(500'000'000);
  EXPECT_EQ(ToJson(stats)["total_time"], 2.5);

  v1::Collection collection;
  collection.mutable_create_time()->set_seconds(1'700'000'000);
  *collection.mutable_error() = RpcStatusWithReason();
  const Json json = ToJson(collection);
  EXPECT_EQ(json["create_time"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(json["error"].dump(),
            R"({"code":"NOT_FOUND","reason":"THING_MISSING",)"
            R"("message":"no such thing"})");
  EXPECT_EQ(json["chunking"], "CHUNKING_UNSPECIFIED");

  v1::VectorQuery vector;
  vector.set_vector(std::string("\x00\xff", 2));
  EXPECT_EQ(ToJson(vector)["vector"], "AP8=");
}

TEST(ToJson, MapsAreSortedObjects) {
  v1::AddSourceProgress progress;
  (*progress.mutable_skipped_by_reason())["hidden"] = 2;
  (*progress.mutable_skipped_by_reason())["binary"] = 1;
  EXPECT_EQ(ToJson(progress)["skipped_by_reason"].dump(),
            R"({"binary":1,"hidden":2})");
}

TEST(JsonText, ReplacesBytesThatAreNoUtf8) {
  EXPECT_EQ(JsonText("a\xff"), "\"a\uFFFD\"\n");
}

TEST(RpcStatus, KeepsCodeMessageAndReason) {
  const grpc::Status status(grpc::StatusCode::NOT_FOUND, "no such thing",
                            RpcStatusWithReason().SerializeAsString());
  const absl::Status result = FromGrpc(status);
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kNotFound, "no such thing"));
  EXPECT_EQ(ReasonOf(result), "THING_MISSING");
}

TEST(RpcStatus, TakesDetailsThatAreNoStatus) {
  const absl::Status result = FromGrpc(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone", "\xff\xff\xff"));
  EXPECT_THAT(result, StatusIs(absl::StatusCode::kUnavailable, "gone"));
  EXPECT_EQ(ReasonOf(result), "UNAVAILABLE");
}

TEST(ErrorText, IsForPeopleOrForPrograms) {
  const absl::Status status =
      WithHint(absl::NotFoundError("no \033such thing"), "make one");
  EXPECT_EQ(ErrorText(status, false), "pith: no such thing\n(make one)\n");
  EXPECT_EQ(Json::parse(ErrorText(status, true), nullptr, false),
            Json({{"error",
                   {{"code", "NOT_FOUND"},
                    {"reason", "NOT_FOUND"},
                    {"message", "no \033such thing"}}}}));
}

}  // namespace
}  // namespace pith::cli
