"""The words the generated data is made of: real cities, invented companies and streets."""

from typing import NamedTuple

__all__ = ["CITIES", "COMPANY_ENDS", "COMPANY_STARTS", "GOODS", "STREETS", "City"]


class City(NamedTuple):
    """A place that ships goods: where it is, and how much it ships compared with the others."""

    name: str
    country: str
    longitude: float
    latitude: float
    weight: int


CITIES = (
    City("Amsterdam", "NL", 4.9041, 52.3676, 6),
    City("Antwerp", "BE", 4.4025, 51.2194, 9),
    City("Athens", "GR", 23.7275, 37.9838, 3),
    City("Barcelona", "ES", 2.1734, 41.3851, 7),
    City("Basel", "CH", 7.5886, 47.5596, 3),
    City("Berlin", "DE", 13.4050, 52.5200, 6),
    City("Bilbao", "ES", -2.9350, 43.2630, 3),
    City("Bordeaux", "FR", -0.5792, 44.8378, 4),
    City("Bremen", "DE", 8.8017, 53.0793, 4),
    City("Brno", "CZ", 16.6068, 49.1951, 2),
    City("Brussels", "BE", 4.3517, 50.8503, 5),
    City("Bucharest", "RO", 26.1025, 44.4268, 3),
    City("Budapest", "HU", 19.0402, 47.4979, 4),
    City("Copenhagen", "DK", 12.5683, 55.6761, 4),
    City("Dublin", "IE", -6.2603, 53.3498, 3),
    City("Duisburg", "DE", 6.7623, 51.4344, 7),
    City("Frankfurt", "DE", 8.6821, 50.1109, 6),
    City("Gdansk", "PL", 18.6466, 54.3520, 4),
    City("Genoa", "IT", 8.9463, 44.4056, 4),
    City("Gothenburg", "SE", 11.9746, 57.7089, 4),
    City("Graz", "AT", 15.4395, 47.0707, 2),
    City("Hamburg", "DE", 9.9937, 53.5511, 9),
    City("Helsinki", "FI", 24.9384, 60.1699, 3),
    City("Katowice", "PL", 19.0238, 50.2649, 4),
    City("Le Havre", "FR", 0.1079, 49.4944, 5),
    City("Leipzig", "DE", 12.3731, 51.3397, 4),
    City("Lille", "FR", 3.0573, 50.6292, 6),
    City("Linz", "AT", 14.2858, 48.3069, 3),
    City("Lisbon", "PT", -9.1393, 38.7223, 4),
    City("Ljubljana", "SI", 14.5058, 46.0569, 2),
    City("Lyon", "FR", 4.8357, 45.7640, 8),
    City("Madrid", "ES", -3.7038, 40.4168, 7),
    City("Marseille", "FR", 5.3698, 43.2965, 7),
    City("Milan", "IT", 9.1900, 45.4642, 8),
    City("Munich", "DE", 11.5820, 48.1351, 6),
    City("Nantes", "FR", -1.5536, 47.2184, 4),
    City("Paris", "FR", 2.3522, 48.8566, 12),
    City("Porto", "PT", -8.6291, 41.1579, 3),
    City("Poznan", "PL", 16.9252, 52.4064, 4),
    City("Prague", "CZ", 14.4378, 50.0755, 5),
    City("Rotterdam", "NL", 4.4777, 51.9244, 12),
    City("Strasbourg", "FR", 7.7521, 48.5734, 5),
    City("Toulouse", "FR", 1.4442, 43.6047, 5),
    City("Turin", "IT", 7.6869, 45.0703, 4),
    City("Valencia", "ES", -0.3763, 39.4699, 5),
    City("Venlo", "NL", 6.1681, 51.3704, 5),
    City("Verona", "IT", 10.9916, 45.4384, 4),
    City("Vienna", "AT", 16.3738, 48.2082, 5),
    City("Warsaw", "PL", 21.0122, 52.2297, 6),
    City("Zaragoza", "ES", -0.8891, 41.6488, 4),
)

COMPANY_STARTS = (
    "Altern", "Borea", "Calder", "Delvar", "Estrel", "Ferran", "Galvo", "Helmar", "Istria",
    "Jorvik", "Kestra", "Lumen", "Merid", "Norda", "Ostara", "Pellar", "Quenta", "Rivas",
    "Solvik", "Tarmo", "Umbra", "Veltra", "Wexal", "Ylva", "Zentor",
)  # fmt: skip
COMPANY_ENDS = (
    "Agro", "Automotive", "Beverages", "Cargo", "Ceramics", "Chemicals", "Components",
    "Distribution", "Electronics", "Foods", "Freight", "Furniture", "Glass", "Logistics",
    "Machines", "Metals", "Paper", "Pharma", "Plastics", "Retail", "Steel", "Textiles",
    "Transport", "Wholesale",
)  # fmt: skip
STREETS = (
    "Birch Yard", "Canal Quay", "Cooper Street", "Depot Road", "East Dock", "Factory Lane",
    "Foundry Street", "Freight Avenue", "Harbour Street", "Industry Park", "Lock Street",
    "Mill Road", "North Terminal", "Old Station Road", "Quarry Way", "Rail Yard",
    "Ring Road South", "River Bank", "Warehouse Row", "West Gate",
)  # fmt: skip

# Description, packaging, and the weight of one package in kilograms.
GOODS = (
    ("Automotive brake assemblies, boxed", "EUR_PALLET", 420),
    ("Bottled mineral water, 6 x 1.5 l", "EUR_PALLET", 780),
    ("Ceramic floor tiles, 60 x 60", "EUR_PALLET", 960),
    ("Chilled dairy products", "EUR_PALLET", 540),
    ("Cleaning agents, concentrated", "DRUM", 210),
    ("Coated paper reels", "REEL", 850),
    ("Cold-rolled steel coil", "COIL", 1900),
    ("Consumer electronics, mixed", "EUR_PALLET", 260),
    ("Copper wire on drums", "DRUM", 640),
    ("Diagnostic reagents, 2-8 C", "PARCEL", 18),
    ("Flat-pack furniture", "EUR_PALLET", 380),
    ("Fresh fruit in crates", "CRATE", 310),
    ("Glass panes, racked", "RACK", 720),
    ("Hydraulic pumps", "CRATE", 340),
    ("Industrial paint, solvent based", "IBC", 1150),
    ("Lithium-ion cell modules", "UN_BOX", 290),
    ("Machined gear housings", "CRATE", 560),
    ("Olive oil in tins", "EUR_PALLET", 690),
    ("Plastic granulate in bags", "EUR_PALLET", 1000),
    ("Printed packaging, folded", "EUR_PALLET", 330),
    ("Roasted coffee in sacks", "EUR_PALLET", 600),
    ("Spare parts, express", "PARCEL", 24),
    ("Textile rolls", "ROLL", 180),
    ("Tinned vegetables", "EUR_PALLET", 820),
    ("Wooden window frames", "RACK", 440),
)
