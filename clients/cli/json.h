#ifndef PITH_CLIENTS_CLI_JSON_H_
#define PITH_CLIENTS_CLI_JSON_H_

#include <string>

#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace pith::cli {

using Json = nlohmann::ordered_json;

// `message` as JSON, for every command's --json. Keys are the proto's field
// names in the proto's order. All fields are there, but for messages and
// `optional` ones that are not set. Differences from protobuf's own mapping,
// for the sake of jq:
//   int32, int64   numbers: they count things
//   uint64         strings: they name things (passage_id, generation) and may
//                  exceed 2^53
//   Duration       a number of seconds
//   Timestamp      RFC 3339 in UTC, as there
//   rpc.Status     {"code": "NOT_FOUND", "reason": "...", "message": "..."}
//   bytes          base64, as there
Json ToJson(const google::protobuf::Message& message);

// Indented text with a final newline. Bytes that are no UTF-8 become U+FFFD.
std::string JsonText(const Json& json);

}  // namespace pith::cli

#endif  // PITH_CLIENTS_CLI_JSON_H_
