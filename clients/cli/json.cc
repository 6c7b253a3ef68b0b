#include "clients/cli/json.h"

#include <charconv>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "google/rpc/status.pb.h"

#include "clients/cli/rpc_status.h"
#include "core/base/string_view.h"

namespace pith::cli {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

Json FloatToJson(float value) {
  if (!std::isfinite(value)) {
    return nullptr;
  }
  // The double that prints as the float does: 0.9, not 0.8999999761581421.
  char text[32];
  const char* end = std::to_chars(text, text + sizeof(text), value).ptr;
  double result = 0;
  std::from_chars(text, end, result);
  return result;
}

Json MessageToJson(const Message& message) {
  const std::string& name = message.GetDescriptor()->full_name();
  if (name == google::protobuf::Duration::descriptor()->full_name()) {
    const auto& duration =
        static_cast<const google::protobuf::Duration&>(message);
    // One division rounds once, so that 1.5 ms prints as 0.0015.
    return (static_cast<double>(duration.seconds()) * 1e9 +
            static_cast<double>(duration.nanos())) /
           1e9;
  }
  if (name == google::protobuf::Timestamp::descriptor()->full_name()) {
    const auto& timestamp =
        static_cast<const google::protobuf::Timestamp&>(message);
    return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ",
                            absl::FromUnixSeconds(timestamp.seconds()) +
                                absl::Nanoseconds(timestamp.nanos()),
                            absl::UTCTimeZone());
  }
  if (name == google::rpc::Status::descriptor()->full_name()) {
    return StatusToJson(
        FromRpcStatus(static_cast<const google::rpc::Status&>(message)));
  }
  return ToJson(message);
}

// The value of `field`: of element `index` if it is repeated.
Json ValueToJson(const Message& message, const FieldDescriptor* field,
                 int index) {
  const Reflection* reflection = message.GetReflection();
  const bool repeated = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? reflection->GetRepeatedInt32(message, field, index)
                      : reflection->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? reflection->GetRepeatedInt64(message, field, index)
                      : reflection->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? reflection->GetRepeatedUInt32(message, field, index)
                      : reflection->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(
          repeated ? reflection->GetRepeatedUInt64(message, field, index)
                   : reflection->GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return repeated ? reflection->GetRepeatedDouble(message, field, index)
                      : reflection->GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return FloatToJson(
          repeated ? reflection->GetRepeatedFloat(message, field, index)
                   : reflection->GetFloat(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? reflection->GetRepeatedBool(message, field, index)
                      : reflection->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value =
          repeated ? reflection->GetRepeatedEnum(message, field, index)
                   : reflection->GetEnum(message, field);
      return value->name();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value =
          repeated ? reflection->GetRepeatedString(message, field, index)
                   : reflection->GetString(message, field);
      return field->type() == FieldDescriptor::TYPE_BYTES
                 ? absl::Base64Escape(value)
                 : std::move(value);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageToJson(
          repeated ? reflection->GetRepeatedMessage(message, field, index)
                   : reflection->GetMessage(message, field));
  }
  return nullptr;
}

Json MapToJson(const Message& message, const FieldDescriptor* field) {
  const Reflection* reflection = message.GetReflection();
  const auto* key = field->message_type()->map_key();
  const auto* value = field->message_type()->map_value();
  // Sorted: a protobuf map has no order of its own.
  std::map<std::string, Json> entries;
  for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
    const Message& entry = reflection->GetRepeatedMessage(message, field, i);
    const Json name = ValueToJson(entry, key, 0);
    entries[name.is_string() ? name.get<std::string>() : name.dump()] =
        ValueToJson(entry, value, 0);
  }
  Json object = Json::object();
  for (auto& [name, json] : entries) {
    object[name] = std::move(json);
  }
  return object;
}

}  // namespace

Json ToJson(const Message& message) {
  const Reflection* reflection = message.GetReflection();
  const auto* descriptor = message.GetDescriptor();
  Json object = Json::object();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_map()) {
      object[field->name()] = MapToJson(message, field);
    } else if (field->is_repeated()) {
      Json array = Json::array();
      for (int j = 0; j < reflection->FieldSize(message, field); ++j) {
        array.push_back(ValueToJson(message, field, j));
      }
      object[field->name()] = std::move(array);
    } else if (!field->has_presence() || reflection->HasField(message, field)) {
      object[field->name()] = ValueToJson(message, field, 0);
    }
  }
  return object;
}

std::string JsonText(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pith::cli
