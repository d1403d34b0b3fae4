//! Where cities are, so that no name has to be sent to anybody.
//!
//! Latitude and longitude of the centres in degrees, to two decimals: about a kilometre,
//! finer than a forecast. From general knowledge of geography.

/// Name in lower case without accents, as it is spoken, latitude and longitude.
const CITIES: &[(&str, &str, f32, f32)] = &[
    ("accra", "Accra", 5.60, -0.19),
    ("addis ababa", "Addis Ababa", 9.03, 38.74),
    ("algiers", "Algiers", 36.75, 3.06),
    ("amman", "Amman", 31.95, 35.93),
    ("amsterdam", "Amsterdam", 52.37, 4.90),
    ("ankara", "Ankara", 39.93, 32.86),
    ("antwerp", "Antwerp", 51.22, 4.40),
    ("athens", "Athens", 37.98, 23.73),
    ("atlanta", "Atlanta", 33.75, -84.39),
    ("auckland", "Auckland", -36.85, 174.76),
    ("austin", "Austin", 30.27, -97.74),
    ("baghdad", "Baghdad", 33.31, 44.37),
    ("baltimore", "Baltimore", 39.29, -76.61),
    ("bangalore", "Bangalore", 12.97, 77.59),
    ("bangkok", "Bangkok", 13.76, 100.50),
    ("barcelona", "Barcelona", 41.39, 2.17),
    ("basel", "Basel", 47.56, 7.59),
    ("beijing", "Beijing", 39.90, 116.41),
    ("beirut", "Beirut", 33.89, 35.50),
    ("belfast", "Belfast", 54.60, -5.93),
    ("belgrade", "Belgrade", 44.79, 20.45),
    ("bergen", "Bergen", 60.39, 5.32),
    ("berlin", "Berlin", 52.52, 13.41),
    ("bern", "Bern", 46.95, 7.45),
    ("bilbao", "Bilbao", 43.26, -2.93),
    ("birmingham", "Birmingham", 52.49, -1.89),
    ("bogota", "Bogotá", 4.71, -74.07),
    ("bologna", "Bologna", 44.49, 11.34),
    ("bonn", "Bonn", 50.74, 7.10),
    ("bordeaux", "Bordeaux", 44.84, -0.58),
    ("boston", "Boston", 42.36, -71.06),
    ("bratislava", "Bratislava", 48.15, 17.11),
    ("bremen", "Bremen", 53.08, 8.80),
    ("brisbane", "Brisbane", -27.47, 153.03),
    ("bristol", "Bristol", 51.45, -2.59),
    ("brussels", "Brussels", 50.85, 4.35),
    ("bucharest", "Bucharest", 44.43, 26.10),
    ("budapest", "Budapest", 47.50, 19.04),
    ("buenos aires", "Buenos Aires", -34.60, -58.38),
    ("cairo", "Cairo", 30.04, 31.24),
    ("calgary", "Calgary", 51.05, -114.07),
    ("cambridge", "Cambridge", 52.21, 0.12),
    ("canberra", "Canberra", -35.28, 149.13),
    ("cape town", "Cape Town", -33.92, 18.42),
    ("caracas", "Caracas", 10.48, -66.90),
    ("cardiff", "Cardiff", 51.48, -3.18),
    ("casablanca", "Casablanca", 33.57, -7.59),
    ("chennai", "Chennai", 13.08, 80.27),
    ("chicago", "Chicago", 41.88, -87.63),
    ("cologne", "Cologne", 50.94, 6.96),
    ("copenhagen", "Copenhagen", 55.68, 12.57),
    ("cork", "Cork", 51.90, -8.47),
    ("dallas", "Dallas", 32.78, -96.80),
    ("damascus", "Damascus", 33.51, 36.29),
    ("delhi", "Delhi", 28.61, 77.21),
    ("denver", "Denver", 39.74, -104.99),
    ("detroit", "Detroit", 42.33, -83.05),
    ("dhaka", "Dhaka", 23.81, 90.41),
    ("doha", "Doha", 25.29, 51.53),
    ("dortmund", "Dortmund", 51.51, 7.47),
    ("dresden", "Dresden", 51.05, 13.74),
    ("dubai", "Dubai", 25.20, 55.27),
    ("dublin", "Dublin", 53.35, -6.26),
    ("dusseldorf", "Düsseldorf", 51.23, 6.77),
    ("edinburgh", "Edinburgh", 55.95, -3.19),
    ("florence", "Florence", 43.77, 11.26),
    ("frankfurt", "Frankfurt", 50.11, 8.68),
    ("gdansk", "Gdańsk", 54.35, 18.65),
    ("geneva", "Geneva", 46.20, 6.14),
    ("genoa", "Genoa", 44.41, 8.93),
    ("glasgow", "Glasgow", 55.86, -4.25),
    ("gothenburg", "Gothenburg", 57.71, 11.97),
    ("graz", "Graz", 47.07, 15.44),
    ("hamburg", "Hamburg", 53.55, 9.99),
    ("hannover", "Hannover", 52.38, 9.73),
    ("hanoi", "Hanoi", 21.03, 105.85),
    ("havana", "Havana", 23.11, -82.37),
    ("helsinki", "Helsinki", 60.17, 24.94),
    ("ho chi minh city", "Ho Chi Minh City", 10.82, 106.63),
    ("hong kong", "Hong Kong", 22.32, 114.17),
    ("honolulu", "Honolulu", 21.31, -157.86),
    ("houston", "Houston", 29.76, -95.37),
    ("innsbruck", "Innsbruck", 47.27, 11.40),
    ("istanbul", "Istanbul", 41.01, 28.98),
    ("jakarta", "Jakarta", -6.21, 106.85),
    ("jerusalem", "Jerusalem", 31.77, 35.21),
    ("johannesburg", "Johannesburg", -26.20, 28.05),
    ("karachi", "Karachi", 24.86, 67.00),
    ("kathmandu", "Kathmandu", 27.72, 85.32),
    ("kiev", "Kyiv", 50.45, 30.52),
    ("krakow", "Kraków", 50.06, 19.94),
    ("kuala lumpur", "Kuala Lumpur", 3.139, 101.687),
    ("kyiv", "Kyiv", 50.45, 30.52),
    ("kyoto", "Kyoto", 35.01, 135.77),
    ("lagos", "Lagos", 6.52, 3.38),
    ("lahore", "Lahore", 31.52, 74.36),
    ("las vegas", "Las Vegas", 36.17, -115.14),
    ("leeds", "Leeds", 53.80, -1.55),
    ("leipzig", "Leipzig", 51.34, 12.37),
    ("lille", "Lille", 50.63, 3.06),
    ("lima", "Lima", -12.05, -77.04),
    ("lisbon", "Lisbon", 38.72, -9.14),
    ("liverpool", "Liverpool", 53.41, -2.98),
    ("ljubljana", "Ljubljana", 46.06, 14.51),
    ("london", "London", 51.51, -0.13),
    ("los angeles", "Los Angeles", 34.05, -118.24),
    ("luxembourg", "Luxembourg", 49.61, 6.13),
    ("lyon", "Lyon", 45.76, 4.84),
    ("madrid", "Madrid", 40.42, -3.70),
    ("malaga", "Málaga", 36.72, -4.42),
    ("malmo", "Malmö", 55.60, 13.00),
    ("manchester", "Manchester", 53.48, -2.24),
    ("manila", "Manila", 14.60, 120.98),
    ("marseille", "Marseille", 43.30, 5.37),
    ("melbourne", "Melbourne", -37.81, 144.96),
    ("mexico city", "Mexico City", 19.43, -99.13),
    ("miami", "Miami", 25.76, -80.19),
    ("milan", "Milan", 45.46, 9.19),
    ("minneapolis", "Minneapolis", 44.98, -93.27),
    ("montevideo", "Montevideo", -34.90, -56.16),
    ("montreal", "Montreal", 45.50, -73.57),
    ("moscow", "Moscow", 55.76, 37.62),
    ("mumbai", "Mumbai", 19.08, 72.88),
    ("munich", "Munich", 48.14, 11.58),
    ("nairobi", "Nairobi", -1.29, 36.82),
    ("naples", "Naples", 40.85, 14.27),
    ("nashville", "Nashville", 36.16, -86.78),
    ("new delhi", "New Delhi", 28.61, 77.21),
    ("new orleans", "New Orleans", 29.95, -90.07),
    ("new york", "New York", 40.71, -74.01),
    ("new york city", "New York", 40.71, -74.01),
    ("nice", "Nice", 43.70, 7.27),
    ("nuremberg", "Nuremberg", 49.45, 11.08),
    ("osaka", "Osaka", 34.69, 135.50),
    ("oslo", "Oslo", 59.91, 10.75),
    ("ottawa", "Ottawa", 45.42, -75.70),
    ("oxford", "Oxford", 51.75, -1.26),
    ("palermo", "Palermo", 38.12, 13.36),
    ("paris", "Paris", 48.86, 2.35),
    ("perth", "Perth", -31.95, 115.86),
    ("philadelphia", "Philadelphia", 39.95, -75.17),
    ("phoenix", "Phoenix", 33.45, -112.07),
    ("pittsburgh", "Pittsburgh", 40.44, -80.00),
    ("portland", "Portland", 45.52, -122.68),
    ("porto", "Porto", 41.16, -8.63),
    ("prague", "Prague", 50.08, 14.44),
    ("quito", "Quito", -0.18, -78.47),
    ("reykjavik", "Reykjavík", 64.15, -21.94),
    ("riga", "Riga", 56.95, 24.11),
    ("rio de janeiro", "Rio de Janeiro", -22.91, -43.17),
    ("riyadh", "Riyadh", 24.71, 46.68),
    ("rome", "Rome", 41.90, 12.50),
    ("rotterdam", "Rotterdam", 51.92, 4.48),
    ("saint petersburg", "Saint Petersburg", 59.93, 30.34),
    ("salt lake city", "Salt Lake City", 40.76, -111.89),
    ("salzburg", "Salzburg", 47.81, 13.06),
    ("san diego", "San Diego", 32.72, -117.16),
    ("san francisco", "San Francisco", 37.77, -122.42),
    ("santiago", "Santiago", -33.45, -70.67),
    ("sao paulo", "São Paulo", -23.55, -46.63),
    ("sarajevo", "Sarajevo", 43.86, 18.41),
    ("seattle", "Seattle", 47.61, -122.33),
    ("seoul", "Seoul", 37.57, 126.98),
    ("seville", "Seville", 37.39, -5.98),
    ("shanghai", "Shanghai", 31.23, 121.47),
    ("sheffield", "Sheffield", 53.38, -1.47),
    ("shenzhen", "Shenzhen", 22.54, 114.06),
    ("singapore", "Singapore", 1.35, 103.82),
    ("skopje", "Skopje", 42.00, 21.43),
    ("sofia", "Sofia", 42.70, 23.32),
    ("stockholm", "Stockholm", 59.33, 18.07),
    ("strasbourg", "Strasbourg", 48.57, 7.75),
    ("stuttgart", "Stuttgart", 48.78, 9.18),
    ("sydney", "Sydney", -33.87, 151.21),
    ("taipei", "Taipei", 25.03, 121.57),
    ("tallinn", "Tallinn", 59.44, 24.75),
    ("tbilisi", "Tbilisi", 41.72, 44.79),
    ("tehran", "Tehran", 35.69, 51.39),
    ("tel aviv", "Tel Aviv", 32.09, 34.78),
    ("the hague", "The Hague", 52.08, 4.30),
    ("thessaloniki", "Thessaloniki", 40.64, 22.94),
    ("tirana", "Tirana", 41.33, 19.82),
    ("tokyo", "Tokyo", 35.68, 139.69),
    ("toronto", "Toronto", 43.65, -79.38),
    ("toulouse", "Toulouse", 43.60, 1.44),
    ("tunis", "Tunis", 36.81, 10.17),
    ("turin", "Turin", 45.07, 7.69),
    ("utrecht", "Utrecht", 52.09, 5.12),
    ("valencia", "Valencia", 39.47, -0.38),
    ("vancouver", "Vancouver", 49.28, -123.12),
    ("venice", "Venice", 45.44, 12.32),
    ("vienna", "Vienna", 48.21, 16.37),
    ("vilnius", "Vilnius", 54.69, 25.28),
    ("warsaw", "Warsaw", 52.23, 21.01),
    ("washington", "Washington", 38.91, -77.04),
    ("wellington", "Wellington", -41.29, 174.78),
    ("wroclaw", "Wrocław", 51.11, 17.04),
    ("zagreb", "Zagreb", 45.82, 15.98),
    ("zurich", "Zürich", 47.37, 8.54),
];

/// A city and where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct City {
    pub(crate) name: &'static str,
    pub(crate) latitude: f32,
    pub(crate) longitude: f32,
}

/// The city that is meant, if it is known.
pub(crate) fn find(said: &str) -> Option<City> {
    let wanted = plain(said);
    let wanted = wanted.strip_prefix("the city of ").unwrap_or(&wanted);
    CITIES.iter().find(|(key, ..)| *key == wanted).map(|(_, name, latitude, longitude)| City {
        name,
        latitude: *latitude,
        longitude: *longitude,
    })
}

/// Lower case letters without accents, one space between words.
fn plain(text: &str) -> String {
    let folded = text
        .chars()
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            'á' | 'à' | 'â' | 'ã' | 'ä' | 'å' => 'a',
            'é' | 'è' | 'ê' | 'ë' => 'e',
            'í' | 'ì' | 'î' | 'ï' => 'i',
            'ó' | 'ò' | 'ô' | 'õ' | 'ö' | 'ø' => 'o',
            'ú' | 'ù' | 'û' | 'ü' => 'u',
            'ç' => 'c',
            'ñ' | 'ń' => 'n',
            'ł' => 'l',
            c if c.is_alphanumeric() => c,
            _ => ' ',
        })
        .collect::<String>();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_on_the_globe_and_found_as_it_is_said() {
        assert!(CITIES.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, without doubles");
        for (key, name, latitude, longitude) in CITIES {
            assert!((-60.0..=70.0).contains(latitude) && (-180.0..=180.0).contains(longitude), "{name}");
            assert_eq!(plain(key), *key);
            let found = find(name).unwrap_or_else(|| panic!("{name} is found by its own name"));
            assert_eq!((found.latitude, found.longitude), (*latitude, *longitude), "{name}");
        }
        for (said, name) in
            [("ZÜRICH", "Zürich"), ("new  york", "New York"), ("São Paulo!", "São Paulo"), ("The Hague", "The Hague")]
        {
            assert_eq!(find(said).map(|city| city.name), Some(name), "{said}");
        }
        for said in ["", "nowhere", "berlin wall", "a"] {
            assert_eq!(find(said), None, "{said}");
        }
    }
}
