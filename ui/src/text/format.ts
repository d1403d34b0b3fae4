// Figures and times as people of a language write them. Pure, but for the clock that
// `ago` is given. Deliberately absent: words; those are in the catalogues.

export type Language = "en" | "de";

export interface Format {
  /** Milliseconds with as many digits as they are worth. */
  ms(value: number): string;
  seconds(ms: number): string;
  bytes(value: number): string;
  number(value: number): string;
  percent(share: number): string;
  /** Day and time. */
  dateTime(ms: number): string;
  time(ms: number): string;
  /** `5 minutes ago`, or the date when it is long ago. */
  ago(ms: number, now: number): string;
  duration(ms: number): string;
}

const DAY = 86_400_000;

export function createFormat(language: Language): Format {
  const number = (options: Intl.NumberFormatOptions = {}) => new Intl.NumberFormat(language, options);
  const unit = (unit: string, digits = 0) => number({ style: "unit", unit, maximumFractionDigits: digits });
  const [fine, whole] = [unit("millisecond", 1), unit("millisecond")];
  const seconds = unit("second", 1);
  const [bytes, kilobytes, megabytes, gigabytes] = [
    unit("byte"),
    unit("kilobyte"),
    unit("megabyte"),
    unit("gigabyte", 1),
  ];
  const dateTime = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  const time = new Intl.DateTimeFormat(language, { timeStyle: "medium" });
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const percent = number({ style: "percent" });
  const plain = number();
  return {
    ms: (value) => (value < 10 ? fine : whole).format(value),
    seconds: (value) => seconds.format(value / 1000),
    bytes: (value) => {
      if (value < 1000) return bytes.format(value);
      if (value < 1e6) return kilobytes.format(value / 1e3);
      return value < 1e9 ? megabytes.format(value / 1e6) : gigabytes.format(value / 1e9);
    },
    number: (value) => plain.format(value),
    percent: (share) => percent.format(share),
    dateTime: (value) => dateTime.format(value),
    time: (value) => time.format(value),
    ago: (value, now) => {
      const past = now - value;
      if (past > 7 * DAY) return dateTime.format(value);
      if (past >= DAY) return relative.format(-Math.floor(past / DAY), "day");
      if (past >= 3_600_000) return relative.format(-Math.floor(past / 3_600_000), "hour");
      if (past >= 60_000) return relative.format(-Math.floor(past / 60_000), "minute");
      return relative.format(-Math.max(0, Math.floor(past / 1000)), "second");
    },
    duration: (value) => {
      if (value < 60_000) return unit("second").format(Math.floor(value / 1000));
      if (value < 3_600_000) return unit("minute").format(Math.floor(value / 60_000));
      return `${unit("hour").format(Math.floor(value / 3_600_000))} ${unit("minute").format(Math.floor(value / 60_000) % 60)}`;
    },
  };
}
