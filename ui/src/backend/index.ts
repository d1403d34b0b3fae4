// The only door to the hub: screens import from here and from nowhere else in this folder.
export { ApiError, asApiError, createClient } from "./client";
export type { Client, FaultCode, Input, Operation, Socket, Transport } from "./client";
export { follow } from "./follow";
export type { Following } from "./follow";
export { COMMANDS, createNative, isNative } from "./native";
export type {
  AppInfo,
  Commands,
  Device,
  DeviceFault,
  DeviceList,
  Hotkey,
  Native,
  TalkSnapshot,
  TalkTold,
  Told,
  UpdateFound,
} from "./native";
export { webTransport } from "./web";
export type * from "./generated";
