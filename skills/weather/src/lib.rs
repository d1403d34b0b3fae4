//! The weather of today and tomorrow, from Open-Meteo, whose service needs no key
//! (<https://open-meteo.com/en/docs>).
//!
//! It asks the one address that its manifest names, and sends coordinates: which city
//! was meant is looked up here. Without the network or the permission it says so.

mod cities;
#[cfg(test)]
mod tests;

use cities::City;
use loqa_skill_sdk::{HttpRequest, Loqa, Reply, SkillError, skill};
use serde::Deserialize;
use serde_json::json;

skill! {
    tools {
        "weather.today" => today,
        "weather.tomorrow" => tomorrow,
        "weather.home" => home,
    }
    events {}
}

/// Key under which the name of the city at home is kept.
const HOME: &str = "home";
/// Below this chance of rain it is not mentioned, in percent. Chosen.
const WORTH_SAYING: f32 = 20.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Where {
    city: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Home {
    city: String,
}

#[derive(Debug, Deserialize)]
struct Forecast {
    current: Current,
    daily: Daily,
}

#[derive(Debug, Deserialize)]
struct Current {
    temperature_2m: f32,
    weather_code: u16,
}

#[derive(Debug, Deserialize)]
struct Daily {
    weather_code: Vec<u16>,
    temperature_2m_max: Vec<f32>,
    temperature_2m_min: Vec<f32>,
    /// Some models have none.
    #[serde(default)]
    precipitation_probability_max: Vec<Option<f32>>,
}

/// One day of the forecast.
struct Day {
    code: u16,
    high: i32,
    low: i32,
    rain: Option<i32>,
}

fn today(loqa: &mut Loqa<'_>, place: Where) -> Result<Reply, SkillError> {
    let (city, forecast) = match ask(loqa, place)? {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    let Some(day) = forecast.daily.day(0) else { return Ok(nonsense()) };
    let (now, sky) = (degrees(forecast.current.temperature_2m), describe(forecast.current.weather_code));
    let Day { high, low, rain, .. } = day;
    let said = format!(
        "In {} it is {now} degrees, with {sky}. Today's high is {high}, the low {low}.{}",
        city.name,
        umbrella(rain)
    );
    let data =
        json!({ "city": city.name, "now_c": now, "sky": sky, "high_c": high, "low_c": low, "rain_percent": rain });
    Ok(Reply::say(said).with_data(data))
}

fn tomorrow(loqa: &mut Loqa<'_>, place: Where) -> Result<Reply, SkillError> {
    let (city, forecast) = match ask(loqa, place)? {
        Ok(found) => found,
        Err(reply) => return Ok(reply),
    };
    let Some(Day { code, high, low, rain }) = forecast.daily.day(1) else { return Ok(nonsense()) };
    let sky = describe(code);
    let said = format!("Tomorrow in {}: {sky}, between {low} and {high} degrees.{}", city.name, umbrella(rain));
    let data = json!({ "city": city.name, "sky": sky, "high_c": high, "low_c": low, "rain_percent": rain });
    Ok(Reply::say(said).with_data(data))
}

fn home(loqa: &mut Loqa<'_>, Home { city }: Home) -> Result<Reply, SkillError> {
    let Some(city) = cities::find(&city) else { return Ok(unknown_city()) };
    loqa.set_value(HOME, city.name)?;
    Ok(Reply::say(format!("From now on the weather is that of {}.", city.name)))
}

/// The city that is meant and its forecast, or what to say instead.
fn ask(loqa: &mut Loqa<'_>, Where { city }: Where) -> Result<Result<(City, Forecast), Reply>, SkillError> {
    let named = match city {
        Some(city) => Some(city),
        None => loqa.value::<String>(HOME)?,
    };
    let Some(named) = named else {
        return Ok(Err(Reply::say("For which city? Say for example: set my weather city to Paris.")));
    };
    let Some(city) = cities::find(&named) else { return Ok(Err(unknown_city())) };
    let base = loqa.urls().first().cloned().unwrap_or_default();
    let request = HttpRequest::get(format!(
        "{base}?latitude={:.2}&longitude={:.2}&timezone=auto&forecast_days=2&current=temperature_2m,weather_code\
         &daily=weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max",
        city.latitude, city.longitude
    ))
    .header("accept", "application/json");
    let answer = match loqa.http(&request) {
        Ok(answer) => answer,
        Err(error) if error.is_denied() => {
            return Ok(Err(Reply::say(
                "I may not ask the weather service. Grant the weather skill its permission first.",
            )));
        }
        Err(error) if error.is_offline() => {
            return Ok(Err(Reply::say("I can't reach the weather service. Is the network there?")));
        }
        Err(error) if error.code == "dry_run" => return Err(error.into()),
        Err(_) => return Ok(Err(nonsense())),
    };
    if !answer.is_success() {
        return Ok(Err(Reply::say(format!("The weather service refuses, with status {}.", answer.status))));
    }
    Ok(answer.json::<Forecast>().map(|forecast| (city, forecast)).map_err(|_| nonsense()))
}

impl Daily {
    fn day(&self, index: usize) -> Option<Day> {
        Some(Day {
            code: *self.weather_code.get(index)?,
            high: degrees(*self.temperature_2m_max.get(index)?),
            low: degrees(*self.temperature_2m_min.get(index)?),
            rain: self
                .precipitation_probability_max
                .get(index)
                .copied()
                .flatten()
                .filter(|percent| *percent >= WORTH_SAYING)
                .map(degrees),
        })
    }
}

fn unknown_city() -> Reply {
    Reply::say("I don't know where that city is. Name the nearest large one.")
}

fn nonsense() -> Reply {
    Reply::say("The weather service answered something that I don't understand.")
}

fn umbrella(rain: Option<i32>) -> String {
    rain.map(|percent| format!(" The chance of rain is {percent} percent.")).unwrap_or_default()
}

/// A whole number; what is no number at all becomes zero.
#[expect(clippy::cast_possible_truncation, reason = "temperatures and percentages are small, and `as` saturates")]
fn degrees(value: f32) -> i32 {
    value.round() as i32
}

/// WMO code table 4677, as Open-Meteo documents the codes that it uses.
const fn describe(code: u16) -> &'static str {
    match code {
        0 => "a clear sky",
        1 => "a mostly clear sky",
        2 => "some clouds",
        3 => "clouds",
        45 | 48 => "fog",
        51..=57 => "drizzle",
        61 | 80 => "light rain",
        63 | 65..=67 | 81 | 82 => "rain",
        71 | 85 => "light snow",
        73 | 75 | 77 | 86 => "snow",
        95 | 96 | 99 => "thunderstorms",
        _ => "mixed weather",
    }
}
